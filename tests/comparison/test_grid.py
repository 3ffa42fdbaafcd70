"""Grids of results: where the crops lie, what stands below them."""

import numpy as np
import pytest

from maskdcpt_cli.comparison.grid import Panel, Scene, Score, crop_regions, figure

SIDE = 96


def scene(*results: np.ndarray, gt: bool = True) -> Scene:
    plain = np.full((SIDE, SIDE, 3), 128, np.uint8)
    panels = tuple(
        Panel(f"method {i}", pixels, (Score("30.00"),)) for i, pixels in enumerate(results)
    )
    return Scene("house", Panel("Input", plain), panels, Panel("Truth", plain) if gt else None)


def spotted(top: int, left: int) -> np.ndarray:
    pixels = np.full((SIDE, SIDE, 3), 128, np.uint8)
    pixels[top : top + 8, left : left + 8] = 255
    return pixels


def test_a_crop_is_where_the_methods_differ():
    (region,) = crop_regions(
        scene(spotted(60, 20), spotted(60, 20) // 2 + 64), crops=1, crop_size=32
    )
    assert region.top <= 60 <= region.top + 32 - 8
    assert region.left <= 20 <= region.left + 32 - 8


def test_crops_do_not_overlap():
    first, second = crop_regions(scene(spotted(4, 4), spotted(80, 80)), crops=2, crop_size=32)
    assert abs(first.top - second.top) >= 32 or abs(first.left - second.left) >= 32


def test_one_method_is_compared_with_the_ground_truth():
    (region,) = crop_regions(scene(spotted(4, 70)), crops=1, crop_size=24)
    assert region.top <= 4
    assert region.left <= 70
    assert region.left + 24 >= 78


def test_where_nothing_differs_the_centre_is_shown():
    plain = np.full((SIDE, SIDE, 3), 128, np.uint8)
    (region,) = crop_regions(scene(plain, plain), crops=1, crop_size=32)
    assert (region.top, region.left) == (32, 32)


@pytest.mark.parametrize("crops", [1, 2, 3])
def test_a_figure_grows_with_its_scenes_and_methods(crops):
    one = scene(spotted(4, 4), spotted(80, 80))
    more = scene(spotted(4, 4), spotted(80, 80), spotted(40, 40), spotted(4, 80))
    single, double = figure([one], crops=crops), figure([one, one], crops=crops)
    assert single.dtype == np.uint8
    assert double.shape[0] > 1.5 * single.shape[0]
    assert double.shape[1] == single.shape[1]
    wider = figure([more], crops=crops)
    assert wider.shape[0] * wider.shape[1] > single.shape[0] * single.shape[1]


def test_a_crop_that_is_smaller_than_a_pixel_of_the_sheet_has_a_frame():
    large = np.zeros((3000, 4000, 3), np.uint8)
    panels = (Panel("method", large, (Score("30.00"),)),)
    sheet = figure([Scene("house", Panel("Input", large), panels, None)], crops=1, crop_size=8)
    assert min(sheet.shape[:2]) > 100
