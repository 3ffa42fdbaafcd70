"""Crops and turns: the same for both images, of one size whatever the image's."""

import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.data.augment import Augmentation, full_image


def image(height: int, width: int) -> np.ndarray:
    return default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(64, 48), (16, 90), (16, 16), (5, 40), (2, 3), (1, 1)])
def test_a_crop_is_of_the_requested_size_and_of_the_image(size):
    pixels = image(*size)
    for seed in range(50):
        augmentation = Augmentation.draw(default_rng(seed))
        window = augmentation.crop(*size, side=16)
        assert window.top + window.height <= size[0]
        assert window.left + window.width <= size[1]
        laid = augmentation.apply(window.of(pixels), side=16)
        assert laid.shape == (16, 16, 3)
        colours = {tuple(colour) for colour in pixels.reshape(-1, 3)}
        assert {tuple(colour) for colour in laid.reshape(-1, 3)} <= colours


def test_every_position_and_all_eight_ways_occur():
    drawn = [Augmentation.draw(default_rng(seed)) for seed in range(400)]
    positions = {one.crop(20, 18, side=16)[:2] for one in drawn}
    assert positions == {(top, left) for top in range(5) for left in range(3)}
    pixels = image(4, 4)
    assert len({one.apply(pixels, side=4).tobytes() for one in drawn}) == 8


def test_a_small_image_is_reflected_over_and_over():
    row = np.arange(3, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    plain = Augmentation(0, 0, mirrored=False, quarter_turns=0)
    assert plain.apply(row, side=8)[0, :, 0].tolist() == [0, 1, 2, 1, 0, 1, 2, 1]


def test_all_of_a_image_is_a_window():
    pixels = image(7, 9)
    assert np.array_equal(full_image(7, 9).of(pixels), pixels)
