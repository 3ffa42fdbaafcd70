"""Fine-tuning the layers of the highest mask attribute conductance alone."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.models import BACKBONES
from maskdcpt_cli.presets.training import Conductance, Finetune, load_preset
from maskdcpt_cli.training.conductance import (
    CONDUCTANCE,
    LayerSelection,
    beyond_features,
    conductance_along,
    detail,
    layers_of,
    masked_path,
    select_layers,
)
from maskdcpt_cli.training.distributed import DistributedContext
from maskdcpt_cli.training.events import Event, Initialised, Notice
from maskdcpt_cli.weights.checkpoint import read_checkpoint
from tests.small import small
from tests.training.runs import (
    SIDE,
    differing,
    finetuning,
    mixture,
    pretraining,
    started,
    state,
    steps,
    stopping_after,
)

CPU = torch.device("cpu")
FEW = {"fraction": 0.3, "steps": 4, "images": 1}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("pretrained")
    list(started(pretraining(iterations=2), folder))
    return str(folder / "final.safetensors")


def run_of(pretrained: str) -> Finetune:
    return finetuning(initialise_from=pretrained, conductance=FEW, training={"ema": 0.9})


def test_a_path_uncovers_pixels_in_their_order_until_none_is_hidden():
    image = torch.rand(1, 3, 4, 4) + 0.1
    order = np.random.default_rng(0).permutation(16)
    path = list(masked_path(image, order, Conductance(mask_ratio=0.5, steps=4)))
    visible = [(one[0, 0] > 0) for one in path]
    assert [int(one.sum()) for one in visible] == [8, 10, 12, 14, 16]
    assert all(bool((later | ~sooner).all()) for sooner, later in pairwise(visible))
    assert torch.equal(path[-1], image)
    assert bool((torch.as_tensor(order).view(4, 4)[visible[0]] < 8).all())


def test_the_conductances_of_each_layer_add_up_to_the_change_of_the_output():
    """As those of integrated gradients do, on a path of small steps."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GELU(), nn.Conv2d(8, 3, 3, padding=1))
    image = torch.rand(1, 3, 24, 24)
    path = [image * scale for scale in torch.linspace(0.5, 1, 101)]
    layers = {"first": network[0], "last": network[2]}
    units = conductance_along(lambda lq, _request: network(lq), layers, path, torch.empty(0))
    change = (detail(network(path[-1])) - detail(network(path[0]))).item()
    assert change > 1
    sums = {name: value.sum().item() for (name, _), value in units.items()}
    assert sums == {name: pytest.approx(change, rel=0.01) for name in layers}


def test_a_layer_that_is_called_twice_counts_twice_and_one_without_effect_not():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.dead = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.dead(x)
            return self.conv(self.conv(x))

    network = Twice()
    path = masked_path(torch.rand(1, 3, 8, 8), np.arange(64), Conductance(steps=2))
    layers = dict(network.named_children())
    units = conductance_along(lambda lq, _request: network(lq), layers, path, torch.empty(0))
    assert list(units) == [("conv", 0), ("conv", 1)]


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_has_layers_to_rank(name):
    torch.manual_seed(0)
    backbone = small(name)
    side = 2 * backbone.size_multiple
    settings = Conductance.model_validate(FEW)
    selected = [
        select_layers(
            backbone, lambda lq, _request: backbone(lq), mixture(), settings,
            seed=0, crop_size=side, distributed=DistributedContext(CPU),
        )
        for _ in range(2)
    ]  # fmt: skip
    assert selected[0] == selected[1], "the same again"
    conductance, trained = selected[0].conductance, selected[0].trained
    assert conductance.keys() == layers_of(backbone).keys()
    ranked = sorted(conductance, key=lambda one: -conductance[one])
    first = frozenset(ranked[: round(0.3 * len(ranked))])
    assert min(conductance[one] for one in first) > 0
    assert trained == first | beyond_features(backbone)


def test_ranks_share_the_images(monkeypatch):
    torch.manual_seed(0)
    backbone = small("nafnet")
    settings = Conductance(steps=2, images=1)
    sums: list[torch.Tensor] = []

    def selection(rank: int, world: int) -> LayerSelection:
        return select_layers(
            backbone, lambda lq, _request: backbone(lq), mixture(), settings,
            seed=0, crop_size=SIDE, distributed=DistributedContext(CPU, rank, world),
        )  # fmt: skip

    alone = selection(0, 1)
    monkeypatch.setattr(DistributedContext, "gather", lambda _self, items: items)
    for rank in range(2):
        monkeypatch.setattr(DistributedContext, "mean", lambda _s, v: sums.append(v) or v)
        selection(rank, 2)
    of_both = (sums[0] + sums[1]) / len(mixture().labels)
    assert of_both.tolist() == pytest.approx(list(alone.conductance.values()), rel=1e-4)


def test_only_the_selected_layers_change_and_the_folder_lists_them(pretrained, tmp_path):
    run = run_of(pretrained)
    events: list[Event] = list(started(run, tmp_path))
    assert isinstance(events[0], Initialised)
    layers = json.loads((tmp_path / CONDUCTANCE).read_text())["layers"]
    assert [one["conductance"] for one in layers] == sorted(
        (one["conductance"] for one in layers), reverse=True
    )
    trained = {one["name"] for one in layers if one["trained"]}
    first = {one["name"] for one in layers[: round(0.3 * len(layers))]}
    assert trained == first | set(small("nafnet").beyond_features)
    assert isinstance(events[1], Notice)
    assert events[1].text.startswith(f"{len(trained)} of {len(layers)} layers are trained, ")
    before = read_checkpoint(Path(pretrained)).state_dict
    after = state(tmp_path)["model"]
    changed = {key.rpartition(".")[0] for key in after if not torch.equal(before[key], after[key])}
    head = set(small("nafnet").beyond_features)
    assert changed
    assert head <= trained
    assert changed <= trained
    assert len(steps(events)) == 6


def test_a_run_resumes_with_its_layers_without_measuring_again(pretrained, tmp_path, monkeypatch):
    run = run_of(pretrained)
    list(started(run, tmp_path / "whole"))
    list(started(run, tmp_path / "parts", stop=stopping_after(3)))
    monkeypatch.delattr("maskdcpt_cli.training.finetune.select_layers")
    resumed = list(started(run, tmp_path / "parts", resume=True))
    assert [step.iteration for step in steps(resumed)] == [5, 6]
    assert differing(state(tmp_path / "whole"), state(tmp_path / "parts")) == []
    (tmp_path / "parts" / CONDUCTANCE).write_text("{")
    with pytest.raises(
        MaskDCPTError, match=r"conductance.json, the layers that the run trains, is"
    ):
        started(run, tmp_path / "parts", resume=True)


def test_a_network_that_is_not_pre_trained_is_refused(tmp_path):
    with pytest.raises(MaskDCPTError, match="give its weights by --init-from"):
        started(finetuning(conductance=FEW), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_that_are_not_finite_are_refused():
    backbone = small("nafnet")
    with torch.no_grad():
        next(backbone.parameters()).fill_(torch.nan)
    with pytest.raises(MaskDCPTError, match="are the weights those of a network that is trained"):
        select_layers(
            backbone, lambda lq, _request: backbone(lq), mixture(), Conductance(steps=1, images=1),
            seed=0, crop_size=SIDE, distributed=DistributedContext(CPU),
        )  # fmt: skip


def test_the_preset_is_that_of_the_release():
    preset = load_preset("finetune", "ram")
    assert isinstance(preset, Finetune)
    assert preset.conductance == Conductance(fraction=0.3, mask_ratio=0.5, steps=200, images=10)
    assert (preset.loss, preset.optimizer.betas, preset.training.ema) == ("l1", (0.9, 0.99), None)
    assert preset.training.iterations == 160_000
    lr = preset.optimizer.lr
    assert (lr.initial, lr.final, lr.warm_up, preset.optimizer.weight_decay) == (
        2e-4,
        1e-7,
        4000,
        0,
    )
