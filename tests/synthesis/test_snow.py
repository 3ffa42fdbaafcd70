"""Snow: what flakes look like, where they go, how they grow more."""

import cv2
import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.synthesis.snow import _shapes, _SnowCamera, snow, unveiled

BLACK = np.zeros((192, 256, 3), np.float32)
SEEDS = range(12)
STILL = _SnowCamera(zoom=1, number=5, way=0, direction=0, aperture=0, focus=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_stronger_snow_is_the_same_snow_and_more(seed):
    light, heavy = (snow(BLACK, level, default_rng(seed)) for level in (0.4, 0.8))
    assert light.parameters == heavy.parameters
    assert (heavy.lq >= light.lq - 1e-5).all()
    assert heavy.lq.mean() > 1.3 * light.lq.mean()


@pytest.mark.parametrize("seed", SEEDS)
def test_flakes_are_white_and_brighter_than_their_veil(seed):
    made = snow(BLACK, 1, default_rng(seed))
    white = made.parameters["white"]
    assert made.parameters["airlight"] < white
    assert 0.4 * white < made.lq.max() < 1.05 * white
    assert np.ptp(made.lq, axis=2).max() < 0.08


def test_flakes_run_along_the_wind():
    off = []
    for seed in range(60):
        made = snow(BLACK, 0.5, default_rng(seed))
        if made.parameters["way"] * made.parameters["zoom"] > 12:
            grey = made.lq.mean(2)
            across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
            twice = np.arctan2(2 * (across * down).sum(), (across**2 - down**2).sum())
            axis = -twice / 2 - made.parameters["direction"]  # the gradient is across the way
            off.append(np.degrees(np.arcsin(abs(np.sin(axis)))))
    assert len(off) > 5
    assert np.median(off) < 10


@pytest.mark.parametrize("change", [{"way": 30}, {"aperture": 12, "focus": 0}], ids=str)
def test_what_moves_or_is_out_of_focus_gets_larger_and_fainter(change):
    still = _shapes(1, STILL, default_rng(2))
    changed = _shapes(1, STILL._replace(**change), default_rng(2))
    assert changed.max() < 0.6 * still.max()
    assert (changed > 0).sum() > 1.5 * (still > 0).sum()
    assert changed.sum() == pytest.approx(still.sum(), rel=0.1)


def test_far_flakes_are_smaller():
    sizes = [(_shapes(distance, STILL, default_rng(3)) > 0.2).sum() for distance in (1, 2, 4)]
    assert sizes[0] > 3 * sizes[1] > 9 * sizes[2]


def test_large_photos_show_as_large_flakes():
    for seed in range(2):
        small, large = (
            snow(np.zeros((side, side, 3), np.float32), 0.7, default_rng(seed)).lq
            for side in (720, 1440)
        )
        halved = cv2.resize(large, (720, 720), interpolation=cv2.INTER_AREA)
        assert np.abs(halved - small).mean() < 0.01


@pytest.mark.parametrize("seed", SEEDS)
def test_flakes_without_a_veil_are_those_with_it(seed):
    grey = np.full((192, 256, 3), 0.3, np.float32)
    with_veil, alone = (make(grey, 0.6, default_rng(seed)) for make in (snow, unveiled))
    assert alone.parameters == with_veil.parameters | {"veil": 0}
    assert alone.lq.min() == pytest.approx(0.3, abs=0.01)
    assert (with_veil.lq >= alone.lq - 1e-5).all()
