"""Losses, rates, averages, measures: the parts of a step."""

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
from maskdcpt_cli.presets.training import Finetune, Phase, Rate
from maskdcpt_cli.training.ema import MovingAverage
from maskdcpt_cli.training.losses import (
    FAINT,
    FAINTEST,
    SMALL,
    focal_loss,
    relative_l1,
    relative_rmse,
)
from maskdcpt_cli.training.metrics import psnr, ssim
from maskdcpt_cli.training.optimizer import (
    build_optimiser,
    freeze,
    parameter_groups,
    set_rates,
    stage_depths,
)
from maskdcpt_cli.training.schedule import rate_at
from tests.small import small

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, -3.0]])
LABEL = torch.tensor([0, 2])


def test_focal_loss_is_its_formula():
    p = LOGITS.double().softmax(dim=1)[torch.arange(2), LABEL]
    for gamma in (0.0, 1.0, 2.0, 3.5):
        expected = (-((1 - p) ** gamma) * p.log()).mean().item()
        assert focal_loss(LOGITS, LABEL, gamma=gamma).item() == pytest.approx(expected, rel=1e-5)
    assert torch.allclose(focal_loss(LOGITS, LABEL, gamma=0), F.cross_entropy(LOGITS, LABEL))


def test_focal_loss_of_a_certain_answer_has_a_finite_gradient():
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([0, 0]), gamma=2)
    loss.backward()
    assert loss.item() == pytest.approx(200)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_relative_l1_weighs_images_alike_however_strong_their_degradation():
    gt = torch.full((2, 3, 4, 4), 0.5)
    damage = torch.tensor([0.4, 0.04]).view(2, 1, 1, 1)
    halved = relative_l1(gt + damage / 2, gt + damage, gt)
    expected = (0.2 / (0.4 + FAINTEST) + 0.02 / (0.04 + FAINTEST)) / 2
    assert halved.item() == pytest.approx(expected)
    clean = gt.clone().requires_grad_()
    relative_l1(clean, gt, gt).backward()
    assert clean.grad is not None
    assert clean.grad.isfinite().all()


def test_relative_rmse_is_that_of_the_input_and_smooth_where_nothing_is_wrong():
    gt = torch.full((1, 3, 4, 4), 0.5)
    halved = relative_rmse(gt + 0.2, gt + 0.4, gt)
    assert halved.item() == pytest.approx((math.hypot(0.2, SMALL) - SMALL) / (0.4 + FAINT))
    clean = gt.clone().requires_grad_()
    relative_rmse(clean, gt, gt).backward()
    assert clean.grad is not None
    assert not clean.grad.any()


def test_relative_rmse_counts_small_harm_less_than_small_gains():
    gt = torch.full((1, 3, 4, 4), 0.5)
    blurred = gt + 0.04
    gain = relative_rmse(blurred, blurred, gt) - relative_rmse(gt + 0.035, blurred, gt)
    harm = relative_rmse(gt + 0.005, gt, gt) - relative_rmse(gt, gt, gt)
    assert gain > 3 * harm


def learning_by(**optimiser: object) -> Finetune:
    stage = {"iterations": 10, "crop_size": 32, "batch": 2}
    content = {"data": "5d", "training": {"stages": [stage]}, "optimiser": optimiser}
    return Finetune.model_validate(content)


def test_a_rate_is_constant_unless_it_has_an_end():
    phases = [Phase(0, 10, Rate(initial=3e-4))]
    assert {rate_at(phases, i) for i in range(10)} == {3e-4}


def test_the_cosine_begins_after_the_constant_part_and_comes_down_to_the_end():
    rate = Rate(initial=3e-4, final=1e-6, after=92_000)  # Restormer's
    phases = [Phase(0, 300_000, rate)]
    rates = [rate_at(phases, i) for i in range(0, 300_001, 1000)]
    assert set(rates[:93]) == {3e-4}
    assert all(later < sooner for sooner, later in pairwise(rates[92:]))
    assert rates[196] == pytest.approx((3e-4 + 1e-6) / 2)
    assert rates[-1] == pytest.approx(1e-6)


def test_a_phase_takes_its_rate_from_its_own_beginning():
    late = Rate(initial=1e-3, final=1e-5, after=2)
    phases = [Phase(0, 10, Rate(initial=2e-3, final=1e-4)), Phase(10, 20, late)]
    rates = [rate_at(phases, i) for i in range(21)]
    assert rates[0] == 2e-3
    assert rates[9] < 2e-4
    assert rates[10:13] == [1e-3] * 3
    assert rates[16] == pytest.approx((1e-3 + 1e-5) / 2)
    assert rates[20] == pytest.approx(1e-5)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_every_parameter_learns_in_one_group(name, layer_decay):
    backbone, decoder = small(name), nn.Linear(2, 2)
    run = learning_by(
        rate={"initial": 1e-3}, decoder_rate={"initial": 1e-4}, layer_decay=layer_decay
    )
    groups = parameter_groups(backbone, decoder.parameters(), run)
    parameters = [p for group in groups for p in group.parameters]
    expected = [*backbone.parameters(), *decoder.parameters()]
    assert len(parameters) == len(expected)
    assert {id(p) for p in parameters} == {id(p) for p in expected}
    scales = [group.scale for group in groups[:-1]]
    assert scales == [layer_decay**below for below in range(len(scales))]
    assert len(scales) == 1 if layer_decay == 1 else len(scales) >= 5
    optimiser = build_optimiser(groups, run.optimiser)
    set_rates(optimiser, groups, 0)
    assert optimiser.param_groups[0]["lr"] == 1e-3
    assert optimiser.param_groups[-1]["lr"] == 1e-4


def test_stages_are_in_the_order_of_a_restoration():
    depths = stage_depths(small("nafnet"))
    order = ["intro", "encoders.0", "downs.0", "encoders.3", "middle_blks", "ups.0", "decoder0"]
    assert [depths[name] for name in order] == [0, 0, 1, 3, 4, 5, 5]
    assert depths["decoder3"] == 8
    assert depths["ending"] == max(depths.values()) == 9


def test_what_is_frozen_does_not_learn():
    backbone = small("nafnet")
    freeze(backbone, ["encoders.0", "intro"])
    run = learning_by(rate={"initial": 1e-3})
    learning = {id(p) for g in parameter_groups(backbone, (), run) for p in g.parameters}
    for name, parameter in backbone.named_parameters():
        assert (id(parameter) in learning) != name.startswith(("encoders.0", "intro")), name


def test_freezing_what_is_not_there_or_everything_is_refused():
    backbone = small("nafnet")
    with pytest.raises(MaskDCPTError, match=r"begins with 'encoder_'.*The parts .* are intro, enc"):
        freeze(backbone, ["encoder_"])
    freeze(backbone, [""])
    with pytest.raises(MaskDCPTError, match="nothing to train"):
        parameter_groups(backbone, (), learning_by(rate={"initial": 1e-3}))


def test_a_moving_average_moves_and_takes_the_place_of_the_weights():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    average = MovingAverage(model, decay=0.9)
    nn.init.constant_(model.weight, 2.0)
    average.update()
    with average.in_place():
        assert model.weight.item() == pytest.approx(1.1)
    assert model.weight.item() == 2.0
    average.update()
    assert average.averages["weight"].item() == pytest.approx(0.9 * 1.1 + 0.1 * 2)


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
