"""Swapped pairs: find the degraded image of a pair by the effect of the degradation."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.images.arrays import Pixels

SIDE = 768  # of the centre crop that is measured, in pixels
MIN_PAIRS = 5  # pairs that allow a decision
MAJORITY = 0.8  # of the pairs of a source: a clear majority
MARGIN = 0.1  # of a single vote: variation of the measures on pairs with almost no degradation
EPS = 0.1  # added to a measure, of 255, so that flat images do not count

Measure = Callable[[Pixels], float]
NOISE_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def noise(image: Pixels) -> float:
    """Return the mean response to the mask of Immerkaer (1996): to noise, and little to edges."""
    return float(np.abs(cv2.filter2D(_grey(image), -1, NOISE_MASK)).mean())


def sharpness(image: Pixels) -> float:
    """Return the mean magnitude of the Laplacian."""
    return float(np.abs(cv2.Laplacian(_grey(image), cv2.CV_32F)).mean())


def brightness(image: Pixels) -> float:
    """Return the mean."""
    return float(image.mean())


def dullness(image: Pixels) -> float:
    """Return the dark channel (He et al., 2009): near 0 for what is colourful or in shade."""
    return float(cv2.erode(image.min(axis=2), np.ones((7, 7), np.uint8)).mean())


def whiteness(image: Pixels) -> float:
    """Return the mean minimum over channels: streaks, flakes and veils add to it."""
    return float(image.min(axis=2).mean())


def colour(image: Pixels) -> float:
    """Return the mean difference of the strongest and the weakest channel."""
    return float(np.ptp(image, axis=2).mean())


def blocks(image: Pixels) -> float:
    """Return the steps between the blocks of JPEG, relative to those within them."""
    grey = _grey(image)
    lines = [np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis) for axis in (0, 1)]
    between = sum(float(steps[7::8].mean()) for steps in lines)
    within = sum(float(steps[3::8].mean()) for steps in lines)
    return 100 * (between + EPS) / (within + EPS)


def fineness(image: Pixels) -> float:
    """Return the sharpness relative to the contrast: it falls where a blur is local."""
    grey = _grey(image)
    steps = sum(float(np.abs(np.diff(grey, axis=axis)).mean()) for axis in (0, 1))
    return 100 * (sharpness(image) + EPS) / (steps + EPS)


class Sign(NamedTuple):
    """A measure by which the degraded image is known."""

    measure: Measure
    increases: bool  # from gt to lq; else it falls
    reliable: bool  # never wrong by more than MARGIN, so it is valid for a single pair


# Chosen on synthetic pairs of our own and on real ones; a type that is not here, as moire,
# changes images in no one direction.
SIGNS: dict[str, Sign] = {
    "GN": Sign(noise, increases=True, reliable=True),
    "RN": Sign(noise, increases=True, reliable=True),
    "MB": Sign(sharpness, increases=False, reliable=True),
    "DB": Sign(sharpness, increases=False, reliable=True),
    "GB": Sign(sharpness, increases=False, reliable=True),
    "J": Sign(blocks, increases=True, reliable=False),
    "H": Sign(dullness, increases=True, reliable=True),
    "RS": Sign(whiteness, increases=True, reliable=False),
    "RD": Sign(fineness, increases=False, reliable=False),
    "RSD": Sign(whiteness, increases=True, reliable=False),
    "S": Sign(whiteness, increases=True, reliable=False),
    "MS": Sign(sharpness, increases=False, reliable=False),
    "LL": Sign(brightness, increases=False, reliable=True),
    "MB+J": Sign(sharpness, increases=False, reliable=False),
    "MB+RS": Sign(whiteness, increases=True, reliable=False),
    "MB+LL+GN": Sign(brightness, increases=False, reliable=True),
    "LL+H+RS+S": Sign(colour, increases=False, reliable=False),
    "DS+GN+GB+J": Sign(fineness, increases=False, reliable=False),
}


def vote(degradation: str, lq: Pixels, gt: Pixels) -> float:
    """Return how clearly lq is the degraded image, as a logarithm.

    It is negative if gt is, and 0 if it cannot be known.
    """
    sign = SIGNS.get(degradation)
    if sign is None:
        return 0.0
    of_lq, of_gt = (sign.measure(_middle(image)) + EPS for image in (lq, gt))
    return float(np.log(of_lq / of_gt)) * (1 if sign.increases else -1)


def all_swapped(votes: NDArray[np.float32]) -> bool:
    """Return whether a clear majority of the votes of a source says that it is swapped."""
    return len(votes) >= MIN_PAIRS and bool(np.mean(votes < 0) > MAJORITY)


def swapped(degradation: str, votes: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the indices of pairs that are clearly swapped, among others that are not."""
    sign = SIGNS.get(degradation)
    if sign is None or not sign.reliable or len(votes) < MIN_PAIRS or np.mean(votes > 0) < MAJORITY:
        return np.empty(0, np.intp)
    return np.flatnonzero(votes < -max(MARGIN, float(np.median(votes)) / 2))


def _middle(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    top, left = (max(0, (length - SIDE) // 2) for length in (height, width))
    return image[top : top + SIDE, left : left + SIDE]


def _grey(image: Pixels) -> NDArray[np.float32]:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
