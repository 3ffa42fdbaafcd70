"""Raindrops: how much they cover, and the view through them."""

import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.synthesis.raindrop import drops, rain_and_drops

SIZE = 256


def ramp():
    """Dark above, bright below."""
    rows = np.linspace(0.2, 0.8, SIZE, dtype=np.float32)
    return np.ascontiguousarray(np.broadcast_to(rows[:, None, None], (SIZE, SIZE, 3)))


def changed(lq, gt):
    return np.abs(lq - gt).max(2) > 1e-3


@pytest.mark.parametrize("level", [5, 15, 30])
def test_drops_cover_the_requested_fraction(level):
    gt = default_rng(0).random((SIZE, SIZE, 3), dtype=np.float32)
    fractions = []
    for seed in range(24):
        lq = drops(gt, level, default_rng(seed)).lq
        kept = np.cov(lq.ravel(), gt.ravel())[0, 1] / gt.var()  # of each pixel's own noise
        fractions.append(100 * (1 - kept))
    assert np.mean(fractions) == pytest.approx(level, rel=0.25)


def test_what_is_not_under_a_drop_stays_as_it_is():
    gt = ramp()
    for seed in range(10):
        assert changed(drops(gt, 5, default_rng(seed)).lq, gt).mean() < 0.4


def test_a_drop_shows_the_scene_upside_down():
    down, up = ramp()[..., 0], ramp()[::-1, :, 0]
    gt, slopes = np.dstack([down, up, up]), []
    for seed in range(30):
        degraded = drops(gt, 20, default_rng(seed))
        if degraded.parameters["focus"] < 1.5:
            hue = np.log(
                (degraded.lq[..., 0] + 0.01) / (degraded.lq[..., 1] + 0.01)
            )  # not its lightness
            inside = np.abs(hue - np.log((down + 0.01) / (up + 0.01))) > 0.1
            slopes.append(np.median(np.gradient(hue, axis=0)[inside]))
    assert np.mean(slopes) < -0.003  # the scene's own is above 0


def test_a_wetter_glass_has_the_same_drops_and_more():
    gt = ramp()
    for seed in range(6):
        few, many = (drops(gt, level, default_rng(seed)) for level in (8, 16))
        assert few.parameters["drops"] < many.parameters["drops"]
        kept = changed(few.lq, gt) & changed(many.lq, gt)
        assert kept.sum() > 0.9 * changed(few.lq, gt).sum()


def test_streaks_and_drops_grow_together():
    gt = ramp()
    weak, strong = (rain_and_drops(gt, level, default_rng(1)).parameters for level in (0.25, 1))
    assert strong["rate"] == pytest.approx(4 * weak["rate"])
    assert strong["cover"] == pytest.approx(4 * weak["cover"])
    assert 20 <= strong["rate"] <= 100
