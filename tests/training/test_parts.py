"""Losses, learning lrs, averages and metrics: the parts of a step."""

import math
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.models import BACKBONES
from maskdcpt_cli.models.backbone import Backbone, Encoded
from maskdcpt_cli.models.layers import BlockSequence
from maskdcpt_cli.presets.optimizer import LRSchedule, LRSegment
from maskdcpt_cli.presets.training import Finetune
from maskdcpt_cli.training.distributed import DistributedContext
from maskdcpt_cli.training.ema import ExponentialAverage
from maskdcpt_cli.training.finetune import Finetuning
from maskdcpt_cli.training.losses import (
    L1_EPS,
    RMSE_EPS,
    RMSE_KNEE,
    focal_loss,
    relative_l1,
    relative_rmse,
)
from maskdcpt_cli.training.optimizer import (
    build_optimizer,
    freeze,
    lr_at,
    parameter_groups,
    set_lr,
    stage_depths,
)
from maskdcpt_cli.training.trainer import Trainer
from maskdcpt_cli.training.validation import mean_score, psnr, ssim
from tests.small import NETWORKS, small
from tests.training.runs import LABELS, differing, finetuning, started

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, -3.0]])
LABEL = torch.tensor([0, 2])


def test_focal_loss_is_its_formula():
    p = LOGITS.double().softmax(dim=1)[torch.arange(2), LABEL]
    for gamma in (0.0, 1.0, 2.0, 3.5):
        expected = (-((1 - p) ** gamma) * p.log()).mean().item()
        assert focal_loss(LOGITS, LABEL, gamma=gamma).item() == pytest.approx(expected, rel=1e-5)
    assert torch.allclose(focal_loss(LOGITS, LABEL, gamma=0), F.cross_entropy(LOGITS, LABEL))


@pytest.mark.parametrize("gamma", [0, 0.5, 2])
def test_focal_loss_of_a_certain_answer_has_a_finite_gradient(gamma):
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([0, 0]), gamma=gamma)
    loss.backward()
    assert loss.item() == pytest.approx(200)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_relative_l1_weighs_images_alike_however_strong_their_degradation():
    gt = torch.full((2, 3, 4, 4), 0.5)
    damage = torch.tensor([0.4, 0.04]).view(2, 1, 1, 1)
    halved = relative_l1(gt + damage / 2, gt + damage, gt)
    expected = (0.2 / (0.4 + L1_EPS) + 0.02 / (0.04 + L1_EPS)) / 2
    assert halved.item() == pytest.approx(expected)
    clean = gt.clone().requires_grad_()
    relative_l1(clean, gt, gt).backward()
    assert clean.grad is not None
    assert clean.grad.isfinite().all()


def test_relative_rmse_is_that_of_the_input_and_smooth_where_nothing_is_wrong():
    gt = torch.full((1, 3, 4, 4), 0.5)
    halved = relative_rmse(gt + 0.2, gt + 0.4, gt)
    assert halved.item() == pytest.approx(
        (math.hypot(0.2, RMSE_KNEE) - RMSE_KNEE) / (0.4 + RMSE_EPS)
    )
    clean = gt.clone().requires_grad_()
    relative_rmse(clean, gt, gt).backward()
    assert clean.grad is not None
    assert not clean.grad.any()


def test_relative_rmse_counts_small_regressions_less_than_small_gains():
    gt = torch.full((1, 3, 4, 4), 0.5)
    blurred = gt + 0.04
    gain = relative_rmse(blurred, blurred, gt) - relative_rmse(gt + 0.035, blurred, gt)
    regression = relative_rmse(gt + 0.005, gt, gt) - relative_rmse(gt, gt, gt)
    assert gain > 3 * regression


def run_with(**optimizer: object) -> Finetune:
    stage = {"iterations": 10, "crop_size": 32, "batch": 2}
    content = {"data": "5d", "training": {"stages": [stage]}, "optimizer": optimizer}
    return Finetune.model_validate(content)


def test_a_learning_rate_is_constant_unless_it_has_an_end():
    segments = [LRSegment(0, 10, LRSchedule(initial=3e-4))]
    assert {lr_at(segments, i) for i in range(10)} == {3e-4}


def test_the_cosine_begins_after_the_constant_part_and_comes_down_to_the_end():
    schedule = LRSchedule(initial=3e-4, final=1e-6, after=92_000)  # Restormer's
    segments = [LRSegment(0, 300_000, schedule)]
    lrs = [lr_at(segments, i) for i in range(0, 300_001, 1000)]
    assert set(lrs[:93]) == {3e-4}
    assert all(later < sooner for sooner, later in pairwise(lrs[92:]))
    assert lrs[196] == pytest.approx((3e-4 + 1e-6) / 2)
    assert lrs[-1] == pytest.approx(1e-6)


def test_a_segment_begins_its_schedule_anew():
    late = LRSchedule(initial=1e-3, final=1e-5, after=2)
    segments = [LRSegment(0, 10, LRSchedule(initial=2e-3, final=1e-4)), LRSegment(10, 20, late)]
    lrs = [lr_at(segments, i) for i in range(21)]
    assert lrs[0] == 2e-3
    assert lrs[9] < 2e-4
    assert lrs[10:13] == [1e-3] * 3
    assert lrs[16] == pytest.approx((1e-3 + 1e-5) / 2)
    assert lrs[20] == pytest.approx(1e-5)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_every_parameter_learns_in_one_group(name, layer_decay):
    backbone, decoder = small(name), nn.Linear(2, 2)
    run = run_with(lr={"initial": 1e-3}, decoder_lr={"initial": 1e-4}, layer_decay=layer_decay)
    groups = parameter_groups(backbone, decoder.parameters(), run)
    parameters = [p for group in groups for p in group.parameters]
    expected = [*backbone.parameters(), *decoder.parameters()]
    assert len(parameters) == len(expected)
    assert {id(p) for p in parameters} == {id(p) for p in expected}
    scales = [group.scale for group in groups[:-1]]
    assert scales == [layer_decay**below for below in range(len(scales))]
    assert len(scales) == 1 if layer_decay == 1 else len(scales) >= 5
    optimizer = build_optimizer(groups, run.optimizer)
    set_lr(optimizer, groups, 0)
    assert optimizer.param_groups[0]["lr"] == 1e-3
    assert optimizer.param_groups[-1]["lr"] == 1e-4


def test_stages_are_in_the_order_of_a_restoration():
    depths = stage_depths(small("nafnet"))
    order = ["intro", "encoders.0", "downs.0", "encoders.3", "middle_blks", "ups.0", "decoder0"]
    assert [depths[name] for name in order] == [0, 0, 1, 3, 4, 5, 5]
    assert depths["decoder3"] == 8
    assert depths["ending"] == max(depths.values()) == 9


def test_what_is_frozen_does_not_learn():
    backbone = small("nafnet")
    freeze(backbone, ["encoders.0", "intro"])
    run = run_with(lr={"initial": 1e-3})
    learning = {id(p) for g in parameter_groups(backbone, (), run) for p in g.parameters}
    for name, parameter in backbone.named_parameters():
        assert (id(parameter) in learning) != name.startswith(("encoders.0", "intro")), name


def test_freezing_what_is_not_there_or_everything_is_refused():
    backbone = small("nafnet")
    with pytest.raises(MaskDCPTError, match=r"begins with 'encoder_'.*The parts .* are intro, enc"):
        freeze(backbone, ["encoder_"])
    freeze(backbone, [""])
    with pytest.raises(MaskDCPTError, match="nothing to train"):
        parameter_groups(backbone, (), run_with(lr={"initial": 1e-3}))


def test_the_averages_begin_with_the_weights_and_are_exponential():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    average = ExponentialAverage(model, decay=0.9)
    nn.init.constant_(model.weight, 2.0)
    average.update(model, when=torch.tensor(True))
    assert average.parameters["weight"].item() == pytest.approx(1.1)
    assert model.weight.item() == 2.0
    average.update(model, when=torch.tensor(True))
    assert average.parameters["weight"].item() == pytest.approx(0.9 * 1.1 + 0.1 * 2)


def test_evaluation_has_the_averages_and_training_the_weights():
    run = finetuning(training={"ema": 0.9})
    task = Finetuning(run, LABELS)
    context = DistributedContext(torch.device("cpu"))
    trainer = Trainer(task, run, distributed=context, micro_batch=None)
    bias = task.backbone.intro.bias
    trainer.ema.parameters["intro.bias"].fill_(7.0)
    before = bias.clone()
    with trainer.evaluating():
        assert (bias == 7).all()
    assert bias.equal(before)
    with pytest.raises(KeyError), trainer.with_ema_weights():
        raise KeyError
    assert bias.equal(before)


def test_psnr_is_its_formula_and_finite_for_equal_images():
    gt = torch.full((1, 3, 16, 16), 0.5)
    assert psnr(gt + 0.1, gt) == pytest.approx(20, abs=1e-4)
    assert psnr(gt, gt) == 100


def test_ssim_is_the_one_of_a_gaussian_window():
    generator = np.random.default_rng(0)
    x = generator.random((24, 32, 3))
    y = np.clip(x + generator.normal(0, 0.2, x.shape), 0, 1)

    def smooth(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (11, 11), 1.5)[5:-5, 5:-5]

    mx, my = smooth(x), smooth(y)
    vx, vy, cov = smooth(x * x) - mx**2, smooth(y * y) - my**2, smooth(x * y) - mx * my
    index = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    restored, gt = (torch.from_numpy(i).permute(2, 0, 1)[None].float() for i in (y, x))
    assert ssim(restored, gt) == pytest.approx(index.mean(), abs=1e-5)
    assert ssim(gt, gt) == pytest.approx(1, abs=1e-6)
    assert math.isfinite(ssim(gt * 0, gt * 0))
    expected = ssim(restored, gt)
    for precision in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", precision):
            assert ssim(restored, gt) == expected


def test_the_best_weights_are_those_of_degraded_images_not_of_clean_ones():
    scores = {"H": {"psnr": 20.0, "accuracy": 1.0}, "clean": {"psnr": 100.0, "accuracy": 0.0}}
    assert mean_score(scores, "psnr") == 20
    assert mean_score(scores, "accuracy") == 0.5
    assert mean_score({"clean": {"psnr": 100.0}}, "psnr") is None


class Nested(torch.nn.Module):
    """A network with lists in lists, a part that is never called, and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.size_multiple = 1
        self.levels = torch.nn.ModuleList([torch.nn.ModuleList([torch.nn.Conv2d(3, 3, 1)])])
        self.unused = torch.nn.Conv2d(3, 3, 1)
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.scale * self.levels[0][0](x)


def test_parameters_of_any_network_are_trained():
    (group,) = parameter_groups(Nested(), [], run_with(lr={"initial": 1e-3}))
    assert len(group.parameters) == 5


class Normed(nn.Module):
    """A network that takes no map of one position while it trains, and keeps statistics of maps."""

    def __init__(self, padding_mode: str) -> None:
        super().__init__()
        self.size_multiple = 1
        self.first = nn.Conv2d(3, 3, 3, padding=1, padding_mode=padding_mode)
        self.norm = nn.BatchNorm2d(3)
        self.blocks = BlockSequence([nn.Conv2d(3, 3, 3, padding=1)])
        self.last = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.last(self.blocks(self.norm(self.first(x))))


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
@pytest.mark.parametrize(("layer_decay", "groups"), [(1.0, 1), (0.5, 2)])
def test_networks_with_statistics_and_reflection_are_grouped_and_stay_as_they_are(
    padding_mode, layer_decay, groups
):
    network = Normed(padding_mode).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    run = run_with(lr={"initial": 1e-3}, layer_decay=layer_decay)
    assert len(parameter_groups(network, (), run)) == groups
    assert all(module.training for module in network.modules())
    assert not differing(before, dict(network.state_dict()))


@pytest.mark.parametrize(
    ("option", "changes"),
    [
        ("optimizer.layer_decay", {"optimizer": {"layer_decay": 0.5}}),
        ("training.checkpointing", {"training": {"checkpointing": True}}),
    ],
)
def test_options_of_blocks_are_refused_for_a_network_without_a_sequence_of_them(
    option, changes, tmp_path, monkeypatch
):
    class Alone(Backbone):
        options = beyond_features = ()
        size_multiple = 1

        def __init__(self):
            super().__init__()
            self.intro, self.ending = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)

        def encode(self, lq, *_, **__):
            return Encoded(self.intro(lq), ())

        def head(self, latent):
            return self.ending(latent)

    monkeypatch.setitem(BACKBONES.own, "alone", Alone)
    list(started(finetuning(backbone="alone", iterations=1), tmp_path / "run"))
    with pytest.raises(MaskDCPTError, match=rf"^{option} has no effect on the backbone alone, "):
        started(finetuning(backbone="alone", **changes), tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
