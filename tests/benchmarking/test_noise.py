"""The noise of a test set, measured without a network, beside what theory says."""

import math

import numpy as np
import pytest

from maskdcpt_cli.benchmarking.run import (
    SetFinished,
)
from maskdcpt_cli.benchmarking.test_sets import (
    from_photos,
    noise_psnr,
)
from maskdcpt_cli.presets.load import load_data
from tests.benchmarking.layouts import only, run
from tests.datasets import photos, save

SIGMAS = (15, 25, 50, 60, 75)


def test_the_identity_shows_the_noise_of_theory(tmp_path):
    save(tmp_path / "grey" / "a.png", np.full((160, 160, 3), 128, np.uint8))
    sets = from_photos(load_data("denoise"), tmp_path / "grey")
    events = run(sets[:2], tmp_path / "out")
    for finished, sigma in zip(only(events, SetFinished), (15, 25), strict=True):
        assert finished.result.figures["psnr"] == pytest.approx(noise_psnr(sigma), abs=0.05)
    assert noise_psnr(25) == pytest.approx(20.17, abs=0.005)


def test_the_identity_shows_what_clipping_takes_of_the_noise(tmp_path):
    photo = photos()[0]
    save(tmp_path / "photo" / "a.png", photo)
    sets = from_photos(load_data("denoise"), tmp_path / "photo")
    events = run(sets, tmp_path / "out")
    measured = [finished.result.figures["psnr"] for finished in only(events, SetFinished)]
    expected = [clipped_psnr(photo, sigma) for sigma in SIGMAS]
    assert measured == pytest.approx(expected, abs=0.05)
    assert all(value > noise_psnr(sigma) for value, sigma in zip(measured, SIGMAS, strict=True))


def clipped_psnr(photo: np.ndarray, sigma: float) -> float:
    """The expected PSNR of Gaussian noise that is clipped to [0, 1], value by value."""
    s = sigma / 255
    values, counts = np.unique(photo, return_counts=True)
    errors = []
    for x in values / 255:
        low, high = -x / s, (1 - x) / s
        inside = (_below(high) - _below(low)) - (high * _density(high) - low * _density(low))
        errors.append(x * x * _below(low) + (1 - x) ** 2 * (1 - _below(high)) + s * s * inside)
    return -10 * math.log10(np.average(errors, weights=counts))


def _below(z: float) -> float:
    return (1 + math.erf(z / math.sqrt(2))) / 2


def _density(z: float) -> float:
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
