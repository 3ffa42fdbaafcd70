"""Training of the degradation-aware architectures of Table XI."""

from itertools import islice
from typing import Any

import pytest
import torch
from safetensors import safe_open

from maskdcpt_cli.training.events import Initialised
from maskdcpt_cli.training.finetune import Finetuning
from maskdcpt_cli.training.pretrain import Pretraining
from maskdcpt_cli.weights.building import build, build_classifier
from maskdcpt_cli.weights.checkpoint import read_checkpoint
from tests.small import ARCHITECTURES, backbone_of
from tests.training.runs import (
    ENTRIES,
    LABELS,
    SIZES,
    batch_of,
    differing,
    finetuning,
    pretraining,
    started,
    state,
    steps,
)

LQ = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
BATCH = batch_of(LQ, LQ.sqrt(), torch.tensor([0, 1]), torch.tensor([4, 5]))


def of(name: str, **changes: Any) -> dict[str, Any]:
    """Changes of a preset; the number of types of a request is left to the labels."""
    backbone, architecture = backbone_of(name), ARCHITECTURES[name]["architecture"]
    sizes = {backbone: {**SIZES[backbone], "architecture": architecture}}
    return {"backbone": backbone, "sizes": sizes, "batch": 2, **changes}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_pre_training_fine_tuning_and_use(name, tmp_path):
    list(started(pretraining(**of(name, iterations=1)), tmp_path / "pre", validation=ENTRIES[:1]))
    file = tmp_path / "pre" / "final.safetensors"
    assert build_classifier(read_checkpoint(file)).degradations == LABELS
    preset = finetuning(**of(name, iterations=1, initialise_from=str(file)))
    first, *events = started(preset, tmp_path / "fine", validation=ENTRIES[:1])
    assert isinstance(first, Initialised)
    assert not first.missing
    (step,) = steps(events)
    moe = name.endswith("-moe")
    assert step.losses.keys() == ({"total", "restoration", "load"} if moe else {"total"})
    model = build(read_checkpoint(tmp_path / "fine" / "final.safetensors"))
    assert model.architecture == ARCHITECTURES[name]["architecture"]
    assert model.requests == (LABELS if name.endswith("-instruct") else ())


def test_a_network_that_can_be_asked_is_trained_with_the_request_of_each_sample():
    task = Finetuning(finetuning(**of("nafnet-instruct")), (*LABELS, "clean"))
    assert task.backbone.request_types == len(LABELS)
    asked: list[torch.Tensor] = []

    def model(lq: torch.Tensor, request: torch.Tensor) -> torch.Tensor:
        asked.append(request)
        return lq

    request = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    task.losses(model, BATCH._replace(request=request))
    assert torch.equal(asked[0], request)
    assert Finetuning(finetuning(), LABELS).requests(request) == ()


def test_the_loss_of_the_load_counts_by_its_weight():
    totals = {}
    for weight in (0.0, 0.5):
        preset = pretraining(**of("restormer-moe"), load_loss=weight)
        task = Pretraining(preset, LABELS)
        task.model.train()
        torch.manual_seed(0)
        losses = task.losses(task.model, BATCH)
        totals[weight] = losses.total.item()
        parts = losses.parts
    assert parts.keys() == {"reconstruction", "classification", "load"}
    load = parts["load"].item()
    assert totals[0.5] - totals[0.0] == pytest.approx(0.5 * load, rel=1e-3)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_noisy_routing_resumes_bit_for_bit(checkpointing, tmp_path):
    changes = of("restormer-moe", iterations=3, training={"checkpointing": checkpointing})
    whole = steps(started(finetuning(**changes), tmp_path / "whole"))
    begun = started(finetuning(**changes), tmp_path / "parts")
    first = steps(islice(begun, 1))
    begun.close()
    torch.rand(7)  # what else happens in the process does not matter
    rest = steps(started(finetuning(**changes), tmp_path / "parts", resume=True))
    assert [step.losses for step in first + rest] == [step.losses for step in whole]
    assert not differing(state(tmp_path / "whole"), state(tmp_path / "parts"))


@pytest.mark.slow
def test_a_compiled_step_has_the_loss_of_the_load():
    task = Finetuning(finetuning(**of("restormer-moe")), LABELS)
    model = task.model.train()
    losses = []
    for run in (model, torch.compile(model, backend="aot_eager")):
        torch.manual_seed(0)
        one = task.losses(run, BATCH)
        one.total.backward()
        losses.append(one)
    torch.testing.assert_close(losses[1].parts["load"], losses[0].parts["load"])
    assert all(p.grad is not None for p in model.parameters())


def test_files_of_plain_networks_are_as_before_there_were_architectures(tmp_path):
    list(started(finetuning(iterations=1), tmp_path))
    options = read_checkpoint(tmp_path / "final.safetensors").options
    assert options["architecture"] == "plain"
    assert "architecture" not in state(tmp_path)["backbone"]
    with safe_open(tmp_path / "final.safetensors", framework="pt") as file:
        assert "architecture" not in file.metadata()["options"]
