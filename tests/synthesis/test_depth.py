"""Distances in a scene: what is near, what is far, and where the edges are."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.synthesis.depth import landscape_depth, scene_depth

GREY = np.full((96, 128, 3), 0.5, np.float32)
SEEDS = range(30)


def mean_depth(image):
    return np.mean([scene_depth(image, default_rng(seed)) for seed in SEEDS], axis=0)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 41), (2, 300), (300, 200)], ids=str)
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("of", [scene_depth, landscape_depth])
def test_distances_are_between_nearest_and_farthest(of, size, value):
    depth = of(np.full((*size, 3), value, np.float32), default_rng(0))
    assert depth.shape == size
    assert depth.dtype == np.float32
    assert np.isfinite(depth).all()
    assert depth.min() >= 0
    assert depth.max() <= 1


def test_scenes_differ_and_reach_from_near_to_far():
    depths = [scene_depth(GREY, default_rng(seed)) for seed in SEEDS]
    assert np.mean([depth.max() - depth.min() for depth in depths]) > 0.8
    assert min(np.abs(a - b).mean() for a, b in pairwise(depths)) > 0.01
    assert np.ptp([depth.mean() for depth in depths]) > 0.3


def test_the_ground_comes_nearer_towards_the_bottom():
    rows = mean_depth(GREY).mean(1)
    assert rows[:32].mean() > rows[-32:].mean() + 0.1


def test_a_landscape_is_near_at_the_bottom_and_far_above_its_horizon():
    depths = np.array([landscape_depth(GREY, default_rng(seed)) for seed in SEEDS])
    assert np.median(depths[:, -8:]) < 0.15
    assert depths[:, :8].mean() > 0.7
    assert (np.diff(depths.mean((0, 2))) < 0.01).all()


def test_sky_is_farthest():
    view = np.full((96, 128, 3), (0.3, 0.25, 0.2), np.float32)
    view[:40] = 0.6, 0.75, 0.95
    depth = mean_depth(view)
    assert depth[:30].mean() > 0.9
    assert depth[50:].mean() < 0.7


def test_objects_end_where_they_end_in_the_photo():
    two = GREY.copy()
    two[:, 61:] = 0.9, 0.2, 0.1
    steps = np.mean(
        [np.abs(np.diff(scene_depth(two, default_rng(seed)), axis=1)) for seed in SEEDS],
        axis=(0, 1),
    )
    assert steps.argmax() == 60
    assert steps[60] > 5 * np.median(steps)


def test_a_larger_copy_shows_the_same_scene():
    photo = cv2.GaussianBlur(default_rng(1).random((128, 192, 3), dtype=np.float32), (0, 0), 6)
    photo = (photo - photo.min()) / (photo.max() - photo.min())
    larger = cv2.resize(photo, (768, 512))
    for seed in range(5):
        small = scene_depth(photo, default_rng(seed))
        large = cv2.resize(scene_depth(larger, default_rng(seed)), (192, 128))
        assert np.abs(large - small).mean() < 0.03
