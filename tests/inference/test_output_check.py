"""Checks of outputs: what passes and what is caught."""

import pytest
import torch
from torch import Tensor

from maskdcpt_cli.inference.output_check import judge, summary
from maskdcpt_cli.models import BACKBONES
from tests.golden import golden_image
from tests.small import small


def check(lq: Tensor, restored: Tensor) -> str | None:
    return judge(summary(lq, restored))


@pytest.fixture
def photo() -> Tensor:
    """A scene: blotches of all brightnesses with fine texture on them."""
    generator = torch.Generator().manual_seed(0)
    blotches = torch.rand(1, 3, 5, 6, generator=generator)
    scene = torch.nn.functional.interpolate(blotches, (80, 96), mode="bicubic").clip(0, 1)
    return (0.9 * scene + 0.1 * torch.rand(scene.shape, generator=generator)).clip(0, 1)


LEGITIMATE = {
    "nothing to do": lambda photo: (photo, photo),
    "overshoot at edges": lambda photo: (photo, (photo - 0.5) * 1.3 + 0.5),
    "low light": lambda photo: (photo / 20, photo),
    "low light over exposed": lambda photo: (photo / 10, photo * 1.25),
    "haze": lambda photo: (0.15 * photo + 0.8, photo),
    "rain before an even sky": lambda photo: (
        0.6 + 0.3 * (torch.rand(1, 1, 80, 96) > 0.9).expand(1, 3, -1, -1),
        torch.full_like(photo, 0.6),
    ),
    "noise on a flat wall": lambda photo: (
        (0.5 + torch.randn_like(photo) * 50 / 255).clip(0, 1),
        torch.full_like(photo, 0.5),
    ),
    "a black photo": lambda photo: (photo * 0, photo * 0),
    "a flat colour": lambda photo: (photo * 0 + 0.3, photo * 0 + 0.31),
    "a single pixel": lambda photo: (photo[..., :1, :1], photo[..., :1, :1]),
    "one row": lambda photo: (photo[..., :1, :], photo[..., :1, :]),
}

UNSOUND = {
    "one NaN": (lambda lq: lq.masked_fill(lq == lq.max(), torch.nan), "NaN or infinite"),
    "one infinity": (lambda lq: lq.masked_fill(lq == lq.max(), torch.inf), "NaN or infinite"),
    "exploded": (lambda lq: lq * 1e4, "exploded"),
    "exploded in one corner": (
        lambda lq: torch.nn.functional.pad(lq[..., :-20, :-20], (0, 20, 0, 20), value=-3),
        "exploded",
    ),
    "black": (lambda lq: lq * 1e-4, "black"),
    "black below zero": (lambda lq: lq * 0 - 0.1, "black"),
    "white": (lambda lq: lq * 0 + 1.2, "shows nothing of the photo"),
    "grey": (lambda lq: lq * 0 + 0.4, "shows nothing of the photo"),
    "a negative": (lambda lq: 1 - lq, "shows nothing of the photo"),
    "another scene": (lambda lq: lq.flip(-1), "shows nothing of the photo"),
}


@pytest.mark.parametrize("case", LEGITIMATE)
def test_a_legitimate_restoration_passes(case: str, photo: Tensor) -> None:
    torch.manual_seed(0)
    assert check(*LEGITIMATE[case](photo)) is None


@pytest.mark.parametrize("case", UNSOUND)
def test_an_unsound_output_is_named(case: str, photo: Tensor) -> None:
    damage, reason = UNSOUND[case]
    assert reason in (check(photo, damage(photo)) or "")


def test_a_dark_flat_input_that_makes_a_network_explode_is_caught() -> None:
    lq = torch.tensor([0.05, 0.01, 0.1]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    assert "exploded" in (check(lq, lq - 40 * lq) or "")


@pytest.mark.parametrize("name", BACKBONES)
def test_a_network_with_meaningless_weights_is_caught(name: str) -> None:
    lq = golden_image(64, 64)
    with torch.inference_mode():
        restored = small(name)(lq)
    assert check(lq, restored) is not None
