"""Rain: where it goes, what it hides, how it grows."""

import cv2
import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.synthesis.rain import MOST, crossing, downpour, streaks, unveiled

BLACK = np.zeros((192, 256, 3), np.float32)
SEEDS = range(12)


def checks(height=192, width=256):
    pattern = np.indices((height, width)).sum(0) // 8 % 2
    return np.repeat(pattern[..., None] * 0.8 + 0.1, 3, axis=2).astype(np.float32)


def fine(image):
    """What a blur of two pixels takes away."""
    grey = image.mean(2)
    return grey - cv2.GaussianBlur(grey, (0, 0), 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_streaks_run_along_the_wind(seed):
    degraded = streaks(BLACK, 60, default_rng(seed))
    grey = degraded.lq.mean(2)
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    # the direction in which an image changes least is (x, 1), where x solves the least squares
    slope = -(across * down).sum() / np.square(across).sum()
    off = np.degrees(np.arctan(slope) - np.arctan(degraded.parameters["slant"]))
    assert abs(off) < 10


@pytest.mark.parametrize("seed", SEEDS)
def test_streaks_are_brighter_than_the_veil_and_let_some_of_the_scene_through(seed):
    degraded = streaks(checks(), 40, default_rng(seed))
    airlight, glint = degraded.parameters["airlight"], degraded.parameters["glint"]
    assert 0 < airlight < glint <= 1
    other = streaks(1 - checks(), 40, default_rng(seed))
    alone = unveiled(BLACK, 40, default_rng(seed))
    streak = alone.lq.mean(2) > 0.3 * alone.parameters["glint"]
    assert streak.any()
    assert np.abs(degraded.lq - other.lq)[streak].mean() > 0.05
    dark = streaks(BLACK, MOST, default_rng(seed))
    assert dark.lq.max() <= dark.parameters["glint"] * 1.06  # and a little tint


def test_the_veil_takes_contrast_away_the_more_the_farther_one_sees():
    contrasts, reaches = [], []
    for seed in range(40):
        degraded = streaks(checks(), 50, default_rng(seed))
        contrasts.append(np.std(degraded.lq) / np.std(checks()))
        reaches.append(degraded.parameters["reach"])
    assert np.corrcoef(np.log(reaches), contrasts)[0, 1] < -0.6
    assert min(contrasts) < 0.35
    assert max(contrasts) > 0.8


def test_heavier_rain_is_the_same_rain_and_more():
    for seed in SEEDS:
        light, heavy = (streaks(BLACK, level, default_rng(seed)) for level in (40, 60))
        assert light.parameters == heavy.parameters
        assert np.corrcoef(fine(light.lq).ravel(), fine(heavy.lq).ravel())[0, 1] > 0.4


def test_some_rain_is_fine_and_some_is_thick():
    fractions = []
    for seed in range(30):
        grey = streaks(BLACK, 60, default_rng(seed)).lq.mean(2)
        fractions.append(fine(np.dstack([grey])).std() / (grey - cv2.blur(grey, (63, 63))).std())
    assert min(fractions) < 0.45
    assert max(fractions) > 0.65


def test_a_larger_photo_shows_larger_streaks():
    small, large = np.zeros((720, 900, 3), np.float32), np.zeros((1440, 1800, 3), np.float32)
    for seed in (0, 1):
        rain, same = (streaks(image, 60, default_rng(seed)).lq for image in (small, large))
        shrunk = cv2.resize(same, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        assert np.corrcoef(fine(rain).ravel(), fine(shrunk).ravel())[0, 1] > 0.9


def directions(lq):
    """How much of the energy of the gradient stands across streaks of each degree, -90 to 89."""
    grey = lq.mean(2)
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    angle = np.degrees(np.arctan2(-down, across)) % 180
    energy = np.bincount(angle.astype(int).ravel() % 180, (across**2 + down**2).ravel(), 180)
    return np.roll(energy, 90) / energy.sum()


@pytest.mark.parametrize("seed", SEEDS)
def test_crossing_streaks_have_two_directions_or_three(seed):
    wide = np.zeros((384, 512, 3), np.float32)
    degraded = crossing(wide, 60, default_rng(seed))
    angles = [value for name, value in degraded.parameters.items() if name.startswith("angle")]
    assert len(angles) in (2, 3)
    assert np.diff(sorted(angles)).min() >= 15
    energy = directions(degraded.lq)
    near = [energy[round(angle) + 90 - 7 : round(angle) + 90 + 8].sum() for angle in angles]
    assert sum(near) > 0.5
    assert sorted(near)[-2] > 0.1


@pytest.mark.parametrize("seed", SEEDS)
def test_crossing_streaks_hide_what_is_behind_them(seed):
    degraded = crossing(BLACK, 100, default_rng(seed))
    assert np.quantile(degraded.lq[..., 1], 0.995) > 0.9 * degraded.parameters["glint"]


def test_a_downpour_hides_more_of_the_scene_in_its_veil():
    def contrast(rain):
        return np.median([np.std(rain(checks(), 80, default_rng(seed)).lq) for seed in range(40)])

    assert contrast(downpour) < 0.75 * contrast(streaks)


def test_some_downpours_hide_near_things_too():
    samples = [downpour(checks(), 100, default_rng(seed)) for seed in range(200)]
    near, reach = (np.array([one.parameters[key] for one in samples]) for key in ("near", "reach"))
    darkest = [one.lq[..., 1].min() for one in samples]
    assert 0.1 <= near.min() < 0.15
    assert 0.8 < near.max() <= 0.9
    assert np.corrcoef(near * reach, darkest)[0, 1] > 0.7


def test_a_downpour_is_of_finer_streaks():
    def fineness(rain):
        lines = [rain(BLACK, 60, default_rng(seed)).lq.mean(2) for seed in range(30)]
        grey = [
            fine(np.dstack([line])).std() / (line - cv2.blur(line, (63, 63))).std()
            for line in lines
        ]
        return np.median(grey)

    assert fineness(downpour) > 1.1 * fineness(streaks)


@pytest.mark.parametrize("seed", SEEDS)
def test_streaks_without_a_veil_are_those_with_it(seed):
    with_veil, alone = (make(BLACK, 60, default_rng(seed)) for make in (streaks, unveiled))
    assert alone.parameters == with_veil.parameters | {"reach": 0}
    assert alone.lq.min() < 0.02
    assert (with_veil.lq >= alone.lq - 1e-5).all()
