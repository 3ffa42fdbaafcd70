"""Kernels against their formulas and their frequencies in the release."""

import math
from collections import Counter

import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.synthesis.smoothing import KERNEL_SHAPES, SIDES, random_kernel, sinc


def drawn(kernel_name: str, level: float) -> tuple[np.ndarray, dict]:
    """The first kernel of that name."""
    for seed in range(2000):
        kernel, parameters = random_kernel(level, default_rng(seed))
        if parameters["kernel"] == kernel_name:
            return kernel, parameters
    raise AssertionError(kernel_name)


@pytest.mark.parametrize("kernel_name", [*KERNEL_SHAPES, "sinc"])
@pytest.mark.parametrize("level", [0.0, 0.2, 1.0, 3.0])
def test_kernels_sum_to_one_and_are_symmetric(kernel_name, level):
    kernel, parameters = drawn(kernel_name, level)
    assert kernel.shape == (parameters["side"], parameters["side"])
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert np.allclose(kernel, kernel[::-1, ::-1], atol=1e-7)


@pytest.mark.parametrize("kernel_name", [*KERNEL_SHAPES, "sinc"])
def test_no_level_is_no_blur(kernel_name):
    kernel, parameters = drawn(kernel_name, 0)
    only = np.zeros_like(kernel)
    only[parameters["side"] // 2, parameters["side"] // 2] = 1
    assert np.array_equal(kernel, only)


def test_sigma_is_that_of_the_kernel():
    for seed in range(60):
        kernel, parameters = random_kernel(1.2, default_rng(seed))
        if parameters["kernel"] == "iso" and parameters["side"] >= 13:
            steps = np.arange(len(kernel)) - len(kernel) // 2
            assert (kernel.sum(0) * steps**2).sum() == pytest.approx(1.2**2, rel=0.01)


def test_two_axes_have_two_sigmas_at_an_angle():
    for seed in range(400):
        kernel, parameters = random_kernel(1.5, default_rng(seed))
        if parameters["kernel"] == "aniso" and parameters["side"] == 21:
            steps = np.arange(21) - 10
            x, y = np.meshgrid(steps, steps)
            spread = [[(kernel * a * b).sum() for b in (x, y)] for a in (x, y)]
            found = np.sqrt(np.linalg.eigvalsh(spread))
            expected = sorted((1.5, max(parameters["second sigma"], 0.3)))
            assert found == pytest.approx(expected, rel=0.15, abs=0.15)


def test_kernel_shapes_and_sides_come_as_often_as_in_the_release():
    rounds = 4000
    drawn = [random_kernel(1, default_rng(seed))[1] for seed in range(rounds)]
    counts = Counter(parameters["kernel"] for parameters in drawn)
    expected = {name: 0.9 * form.probability for name, form in KERNEL_SHAPES.items()} | {
        "sinc": 0.1
    }
    for name, fraction in expected.items():
        assert counts[name] / rounds == pytest.approx(fraction, abs=0.02)
    sides = Counter(parameters["side"] for parameters in drawn)
    assert tuple(sorted(sides)) == SIDES == (7, 9, 11, 13, 15, 17, 19, 21)
    for count in sides.values():
        assert count / rounds == pytest.approx(1 / 8, abs=0.02)
    for parameters in drawn:
        family = str(parameters["kernel"]).split()[0]
        low, high = {"generalised": (0.5, 4), "plateau": (1, 2)}.get(family, (1, 1))
        assert low <= parameters.get("beta", 1) <= high


def test_the_cutoff_of_sinc_sinks_from_pi_to_its_lowest():
    for seed in range(300):
        cutoffs = [
            random_kernel(level, default_rng(seed))[1].get("cutoff") for level in (0.2, 1.6, 3)
        ]
        if cutoffs[0]:
            lowest = np.pi / (3 if random_kernel(1, default_rng(seed))[1]["side"] < 13 else 5)
            assert cutoffs == pytest.approx([np.pi, (np.pi + lowest) / 2, lowest])


def test_sinc_is_the_bessel_function_it_is_meant_to_be():
    def j1(x: float) -> float:
        return sum(
            (-1) ** m / (math.factorial(m) * math.factorial(m + 1)) * (x / 2) ** (2 * m + 1)
            for m in range(60)
        )

    kernel = sinc(21, 2.0)
    for r in range(1, 11):
        assert kernel[10, 10 + r] == pytest.approx(2 * j1(2.0 * r) / (2 * np.pi * r), abs=1e-9)
    assert kernel[10, 10] == pytest.approx(4 / (4 * np.pi))
