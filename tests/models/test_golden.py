"""Backbones with the released keys and figures load the published weights and restore alike."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from maskdcpt_cli.models import BACKBONES, build_backbone
from tests.golden import CASES, fill_with_golden_weights, golden_image
from tests.golden.__main__ import case

# The released options that are constants here.
FIXED = {"window_size", "bias", "decoder", "upscale"}
# Multiply-accumulates of the released networks at 256x256, in thousands of millions.
MACS = {"nafnet": 63.1, "restormer": 154.9, "promptir": 172.7, "swinir": 800.3}
BACKBONE_CASES = [name for name in CASES if name.partition("-")[0] in BACKBONES]


def options_of(name):
    return {key: value for key, value in CASES[name]["config"].items() if key not in FIXED}


@pytest.fixture(scope="module", params=BACKBONE_CASES)
def golden(request):
    backbone = build_backbone(request.param.partition("-")[0], **options_of(request.param))
    return CASES[request.param], backbone


def test_every_backbone_has_a_golden_case():
    assert {name.partition("-")[0] for name in BACKBONE_CASES} == set(BACKBONES), (
        "`python -m tests.golden NAME` writes the case of a new backbone"
    )


def test_keys_shapes_and_parameters_are_the_released_ones(golden):
    case, backbone = golden
    shapes = {key: list(tensor.shape) for key, tensor in backbone.state_dict().items()}
    assert shapes == case["keys"]
    assert sum(p.numel() for p in backbone.parameters()) == case["parameters"]


@pytest.mark.parametrize("name", [name for name in BACKBONE_CASES if name in BACKBONES])
def test_released_options_are_the_defaults(name):
    with torch.device("meta"):  # without memory
        released, default = build_backbone(name, **options_of(name)), build_backbone(name)
    options = ({o: getattr(one, o) for o in one.options} for one in (released, default))
    assert next(options) == next(options)


def test_output_is_the_released_one(golden):
    case, backbone = golden
    recipe, expected = case["input"], case["output"]
    with torch.inference_mode():
        fill_with_golden_weights(backbone)
        restored = backbone(golden_image(recipe["h"], recipe["w"], recipe["b"]))
    assert list(restored.shape) == expected["shape"]
    tolerance = 1e-4 * expected["std"]
    for sample in expected["samples"]:
        assert restored[tuple(sample["at"])].item() == pytest.approx(sample["value"], abs=tolerance)
    for statistic in ("mean", "std", "min", "max"):
        value = getattr(restored, statistic)().item()
        assert value == pytest.approx(expected[statistic], abs=tolerance)


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_cost_is_the_released_one(name):
    with torch.device("meta"):
        backbone, lq = build_backbone(name), torch.empty(1, 3, 256, 256)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone(lq)
    expected = MACS.get(name) or CASES[name]["macs"]
    assert counter.get_total_flops() / 2e9 == pytest.approx(expected, abs=0.05)


def test_a_case_that_is_written_here_has_the_released_figures():
    written, released = case("nafnet"), CASES["nafnet"]
    assert written["keys"] == released["keys"]
    assert written["parameters"] == released["parameters"]
    assert written["macs"] == pytest.approx(MACS["nafnet"], abs=0.05)
    for statistic in ("mean", "std", "min", "max"):
        expected = released["output"][statistic]
        assert written["output"][statistic] == pytest.approx(expected, abs=1e-3)
