"""Motion blur: light is kept, and stays where it was on average."""

import cv2
import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.synthesis.light import to_linear
from maskdcpt_cli.synthesis.motion_blur import (
    moving,
    path_kernel,
    polyline,
    scene,
    shake,
    shake_sharp,
    unit_path,
)
from maskdcpt_cli.synthesis.optics import spread

LENGTHS = (0, 0.4, 5, 40, 120)


def dotted(*dots, size=160, value=0.9):
    image = np.zeros((size, size, 3), np.float32)
    for x, y in dots:
        image[y - 1 : y + 2, x - 1 : x + 2] = value
    return image


def noise():
    return default_rng(0).random((160, 160, 3), dtype=np.float32)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("seed", range(4))
def test_a_kernel_keeps_all_light_and_its_middle(length, seed):
    kernel = path_kernel(length * unit_path(default_rng(seed), wander=0.05, jerk=0.02))
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert kernel.min() >= 0
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum(0) @ offsets == pytest.approx(0, abs=1e-3)
    assert kernel.sum(1) @ offsets == pytest.approx(0, abs=1e-3)
    if length == 0:
        assert kernel.max() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(4))
def test_a_path_is_one_long(seed):
    path = unit_path(default_rng(seed), wander=0.1, jerk=0.03)
    assert np.abs(np.diff(path)).sum() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("side", [3, 11, 13, 41, 121])
@pytest.mark.parametrize("size", [(16, 16), (31, 64), (128, 97)], ids=str)
def test_spreading_is_convolution_whatever_the_size_of_the_kernel(side, size):
    light = default_rng(0).random((*size, 3), dtype=np.float32)
    kernel = default_rng(1).random((side, side), dtype=np.float32)
    kernel /= kernel.sum()
    margin = side // 2
    padded = cv2.copyMakeBorder(light, *(margin,) * 4, cv2.BORDER_REFLECT_101)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(0, 1))
    for row, column in ((0, 0), (7, 3), (size[0] - 1, size[1] - 1)):
        expected = (windows[row, column] * kernel[::-1, ::-1]).sum((1, 2))
        assert np.allclose(spread(light, kernel)[row, column], expected, atol=1e-5)
    assert np.allclose(spread(light[..., 0], kernel), spread(light, kernel)[..., 0], atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_a_shaken_dot_stays_around_its_position(seed):
    light = to_linear(shake(dotted((80, 70)), 40, default_rng(seed)).lq).mean(2)
    across, down = np.arange(160) @ light.sum(0), np.arange(160) @ light.sum(1)
    assert (across / light.sum(), down / light.sum()) == pytest.approx((80, 70), abs=0.7)


def test_a_lamp_that_was_clipped_draws_a_brighter_line():
    for seed in range(4):
        degraded = shake(dotted((80, 80), value=1), 40, default_rng(seed))
        almost = shake(dotted((80, 80), value=0.99), 40, default_rng(seed))
        ratio = to_linear(degraded.lq).sum() / to_linear(almost.lq).sum()
        assert ratio == pytest.approx(degraded.parameters["brightness"], rel=0.1)


@pytest.mark.parametrize("seed", range(6))
def test_no_point_of_a_scene_moves_farther_than_the_level(seed):
    level, dots = 30, [(x, y) for x in (30, 80, 130) for y in (30, 80, 130)]
    trails = [scene(dotted(dot), level, default_rng(seed)).lq.mean(2) > 0.02 for dot in dots]
    lengths = [max(np.ptp(np.argwhere(trail), axis=0)) for trail in trails]
    assert max(lengths) <= level + 6  # a dot is three wide, and blurs a little
    assert max(lengths) > 0.4 * level


def test_rolling_and_approaching_scenes_blur_unevenly():
    unevenness = []
    for seed in range(8):
        fine = np.abs(cv2.Laplacian(scene(noise(), 20, default_rng(seed)).lq, cv2.CV_32F)).mean(2)
        blocks = cv2.resize(fine, (5, 5), interpolation=cv2.INTER_AREA)
        unevenness.append(blocks.max() / blocks.min())
    assert max(unevenness) > 2


def test_things_move_in_front_of_a_scene_that_hardly_does():
    for seed in range(6):
        fine = np.abs(cv2.Laplacian(moving(noise(), 40, default_rng(seed)).lq, cv2.CV_32F)).mean(2)
        blocks = cv2.resize(fine, (8, 8), interpolation=cv2.INTER_AREA)
        assert blocks.max() > 1.7 * blocks.min()


@pytest.mark.parametrize("corners", range(4))
@pytest.mark.parametrize("seed", range(6))
def test_a_path_of_lines_is_one_long_and_around_its_middle(corners, seed):
    path = polyline(default_rng(seed), corners=corners)
    assert abs(path.mean()) < 1e-9
    steps = np.diff(path)
    assert np.abs(steps).sum() == pytest.approx(1, abs=0.05)
    moving = steps[np.abs(steps) > 1e-6]
    turns = np.abs(np.angle(moving[1:] / moving[:-1]))
    assert (turns > 1e-3).sum() <= 2 * corners, "straight between its corners"


@pytest.mark.parametrize("seed", range(6))
def test_a_line_is_even_and_ends_sharply(seed):
    line = polyline(default_rng(seed), corners=0)
    kernel = path_kernel(24 * line)
    y, x = np.mgrid[: len(kernel), : len(kernel)] - len(kernel) // 2
    direction = (line[-1] - line[0]) / abs(line[-1] - line[0])
    along = x * direction.real + y * direction.imag
    weight, _ = np.histogram(along, bins=[-40, -13.5, -10, -5, 0, 5, 10, 13.5, 40], weights=kernel)
    assert weight[[0, -1]].max() < 1e-6
    np.testing.assert_allclose(weight[2:6], 5 / 24, rtol=0.2)
    assert weight[[1, -2]].min() > 1.5 / 24


def test_light_is_added_up_as_on_a_sensor_or_as_in_papers():
    ways = set()
    for seed in range(12):
        degraded = shake_sharp(dotted((80, 80)), 20, default_rng(seed))
        total = degraded.lq[..., 1].sum() / dotted((80, 80))[..., 1].sum()
        linear = degraded.parameters["linear"]
        ways.add(linear)
        assert (total > 1.5) == bool(linear), "a dot in linear light is brighter in sRGB"
    assert ways == {0, 1}
