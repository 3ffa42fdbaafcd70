"""JPEG is the encoder's, at the requested quality."""

import cv2
import numpy as np
from numpy.random import default_rng

from maskdcpt_cli.synthesis.jpeg import SAMPLINGS, jpeg, twice

SMOOTH = cv2.GaussianBlur(default_rng(0).random((64, 80, 3), dtype=np.float32), (0, 0), 4)
SMOOTH = np.clip(6 * (SMOOTH - 0.5) + 0.5, 0, 1)


def test_it_is_opencv_at_the_nearest_whole_quality():
    lq, parameters = jpeg(SMOOTH, 49.6, default_rng(0))
    pixels = np.rint(SMOOTH[..., ::-1] * 255).astype(np.uint8)
    stream = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    expected = cv2.imdecode(stream, cv2.IMREAD_COLOR)[..., ::-1]
    assert np.array_equal(np.rint(lq * 255), expected)
    assert parameters == {"quality": 50}


def test_the_best_quality_hardly_changes_a_smooth_image():
    assert np.abs(jpeg(SMOOTH, 100, default_rng(0)).lq - SMOOTH).mean() < 0.005


def test_blocks_of_a_low_quality_show():
    rows = np.abs(np.diff(jpeg(SMOOTH, 8, default_rng(0)).lq, axis=0)).mean((1, 2))
    assert rows[7::8].mean() > 2 * np.delete(rows, np.s_[7::8]).mean()


def test_compressed_twice_a_photo_shows_two_grids_of_blocks():
    large = np.clip(cv2.resize(SMOOTH, (640, 512), interpolation=cv2.INTER_CUBIC), 0, 1)
    shares = []
    for seed in range(200):
        lq, drawn = twice(large, 8, default_rng(seed))
        if 2 <= drawn["left"] <= 6 and drawn["first"] == 8 and drawn["second"] < 24:
            steps = np.abs(np.diff(lq[..., 1], axis=1)).mean(0)
            columns = np.array([steps[column::8].mean() for column in range(8)])
            grids = [7 - drawn["left"], 7]
            shares.append(columns[grids] / np.median(np.delete(columns, grids)))
    assert len(shares) >= 5
    first, second = np.mean(shares, axis=0)
    assert first > 1.3
    assert second > 2


def test_one_of_two_qualities_is_the_level_and_the_other_better():
    first = set()
    for seed in range(40):
        drawn = twice(SMOOTH, 30, default_rng(seed)).parameters
        assert min(drawn["first"], drawn["second"]) == 30
        assert max(drawn["first"], drawn["second"]) <= 100
        first.add(drawn["first"] == 30)
        assert {drawn["first chroma"], drawn["second chroma"]} <= set(SAMPLINGS)
    assert first == {True, False}
