"""Light lost, and what comes with it."""

import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.synthesis.light import to_linear
from maskdcpt_cli.synthesis.low_light import backlit, low_light

GREY = np.full((96, 96, 3), 0.6, np.float32)
SEEDS = range(60)


def even(seed: int, level: float) -> tuple[np.ndarray, dict]:
    return low_light(GREY, level, default_rng(seed))


@pytest.mark.parametrize("level", [1, 3, 5])
def test_a_stop_halves_the_light_where_no_lamp_is(level):
    stops = []
    for seed in SEEDS:
        lq, parameters = even(seed, level)
        if parameters["pool"] == 0:
            stops.append(np.log2(to_linear(GREY).mean() / to_linear(lq).mean()))
    assert np.median(stops) == pytest.approx(level, abs=0.15)
    assert np.abs(np.array(stops) - level).max() < 1


def test_some_light_is_uneven_and_some_has_a_colour():
    degraded = [even(seed, 4) for seed in SEEDS]
    spread = {bool(parameters["pool"]): [] for _, parameters in degraded}
    for lq, parameters in degraded:
        spread[bool(parameters["pool"])].append(
            np.ptp(lq.mean(2).reshape(4, 24, 4, 24).mean((1, 3)))
        )
    assert np.median(spread[True]) > 3 * np.median(spread[False])
    cast = [np.ptp(lq.mean((0, 1))) / lq.mean() for lq, _ in degraded]
    assert np.quantile(cast, 0.9) > 0.15


def test_noise_grows_against_the_signal_as_light_falls():
    for seed in range(6):
        ratios = []
        for level in (1, 3, 5, 7):
            light = to_linear(even(seed, level).lq)[20:60, 20:60, 1]
            ratios.append(light.std() / light.mean())
        assert ratios == sorted(ratios)


def test_images_are_of_8_bits_and_blacks_are_crushed():
    gt = np.full((96, 96, 3), 0.05, np.float32)
    degraded = [low_light(gt, 4, default_rng(seed)).lq for seed in range(20)]
    assert all(np.abs(lq * 255 - np.rint(lq * 255)).max() < 1e-3 for lq in degraded)
    assert np.median([(lq == 0).mean() for lq in degraded]) > 0.05


def test_half_of_the_images_went_through_jpeg():
    fractions = np.mean([even(seed, 4).parameters["loss"] > 0 for seed in SEEDS])
    assert 0.3 < fractions < 0.7


def test_lamps_stay_brighter_than_what_they_light():
    gt = GREY.copy()
    gt[40:56, 40:56] = 1
    for seed in SEEDS:
        lq, parameters = low_light(gt, 5, default_rng(seed))
        if parameters["lights"] > 0 and parameters["pool"] == 0:
            contrast = to_linear(lq)[44:52, 44:52].mean() / to_linear(lq)[:30].mean()
            assert contrast > 1.5 * 1 / to_linear(GREY).mean()


def test_before_a_window_the_scene_is_dark_and_the_window_stays_bright():
    gt = np.full((96, 96, 3), 0.35, np.float32)
    gt[30:66, 30:66] = 1
    for seed in SEEDS:
        lq = backlit(gt, 4, default_rng(seed)).lq
        light = to_linear(lq) / to_linear(gt)
        assert light[:20].mean() < 1 / 3
        assert light[36:60, 36:60].mean() > 3 * light[:20].mean()
