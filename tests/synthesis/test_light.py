"""The transfer curve of sRGB against its formula."""

import numpy as np
import pytest

from maskdcpt_cli.synthesis.light import to_linear, to_srgb

EVEN = np.linspace(0, 1, 30_000, dtype=np.float32).reshape(100, 100, 3)


def srgb(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_both_curves_follow_the_formula():
    assert np.abs(to_srgb(EVEN) - srgb(EVEN)).max() < 1.1e-4
    assert np.abs(srgb(to_linear(EVEN)) - EVEN).max() < 1.1e-4


def test_there_and_back_is_the_same_image():
    assert np.abs(to_srgb(to_linear(EVEN)) - EVEN).max() < 3e-4
    assert np.abs(to_linear(to_srgb(EVEN)) - EVEN).max() < 3e-4


@pytest.mark.parametrize("curve", [to_linear, to_srgb])
def test_ends_stay_and_more_is_clipped(curve):
    values = np.array([-0.5, 0, 1, 1.5], np.float32)
    before = values.copy()
    result = curve(values)
    assert result.tolist() == [0, 0, 1, 1]
    assert result.dtype == np.float32
    assert np.array_equal(values, before)
