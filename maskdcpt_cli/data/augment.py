"""Crops, flips and rotations, the same for both images of a pair."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from maskdcpt_cli.images.arrays import Pixels


class Crop(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, pixels: Pixels) -> Pixels:
        """Return the part, as a view."""
        rows = slice(self.top, self.top + self.height)
        return pixels[rows, self.left : self.left + self.width]


CropFn = Callable[[int, int], Crop]  # from (height, width) of an image to a crop


def full_image(height: int, width: int) -> Crop:
    """Return the crop that is the whole image."""
    return Crop(0, 0, height, width)


class Augmentation(NamedTuple):
    """Position of a crop, and one of the eight orientations of a square.

    It does not depend on the size of the image, so it can be sampled before the file is opened.
    """

    down: float  # position of the crop, from 0 at the top to 1 at the bottom, 1 excluded
    right: float
    mirrored: bool
    quarter_turns: int

    @classmethod
    def draw(cls, generator: Generator) -> "Augmentation":
        down, right = generator.random(2).tolist()
        way = int(generator.integers(8))
        return cls(down, right, mirrored=way >= 4, quarter_turns=way % 4)

    def crop(self, height: int, width: int, *, side: int) -> Crop:
        """Return the crop: `side` x `side` pixels, or less if the image is smaller."""
        tall, wide = min(side, height), min(side, width)
        top, left = int(self.down * (height - tall + 1)), int(self.right * (width - wide + 1))
        return Crop(top, left, tall, wide)

    def apply(self, crop: Pixels, *, side: int) -> Pixels:
        """Rotate and flip a crop, after padding it to `side` x `side` by reflection."""
        below, beside = side - crop.shape[0], side - crop.shape[1]
        if below or beside:  # numpy reflects as often as it takes
            crop = np.pad(crop, ((0, below), (0, beside), (0, 0)), "reflect")
        turned = np.rot90(crop, self.quarter_turns)
        return turned[:, ::-1] if self.mirrored else turned
