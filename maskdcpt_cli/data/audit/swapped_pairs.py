"""Which picture of a pair is the degraded one, told by what the degradation does to pictures."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.images.arrays import Pixels

LOOKED_AT = 768  # side of the middle that is looked at, in pixels
FEWEST = 5  # pairs that allow a verdict
MOST = 0.8  # of the pairs of a source: a clear majority
MARGIN = 0.1  # of a single vote: what the measures vary by on pairs of almost no damage
FLOOR = 0.1  # added to a measure, of 255, so that flat pictures have no say

Measure = Callable[[Pixels], float]
NOISE_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def noise(picture: Pixels) -> float:
    """What the mask of Immerkaer (1996) lets through: noise, and little of edges."""
    return float(np.abs(cv2.filter2D(_grey(picture), -1, NOISE_MASK)).mean())


def sharpness(picture: Pixels) -> float:
    """Mean of the Laplacian's amount."""
    return float(np.abs(cv2.Laplacian(_grey(picture), cv2.CV_32F)).mean())


def brightness(picture: Pixels) -> float:
    return float(picture.mean())


def dullness(picture: Pixels) -> float:
    """The dark channel of He et al. (2009): near 0 wherever something is colourful or in shade."""
    return float(cv2.erode(picture.min(axis=2), np.ones((7, 7), np.uint8)).mean())


def whiteness(picture: Pixels) -> float:
    """What all channels have in common: streaks, flakes and veils add to it."""
    return float(picture.min(axis=2).mean())


def colour(picture: Pixels) -> float:
    """Mean difference of the strongest and the weakest channel."""
    return float(np.ptp(picture, axis=2).mean())


def blocks(picture: Pixels) -> float:
    """Steps between the blocks of JPEG, in units of those within them."""
    grey = _grey(picture)
    lines = [np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis) for axis in (0, 1)]
    between = sum(float(steps[7::8].mean()) for steps in lines)
    within = sum(float(steps[3::8].mean()) for steps in lines)
    return 100 * (between + FLOOR) / (within + FLOOR)


def fineness(picture: Pixels) -> float:
    """Sharpness in units of contrast: it falls where a blur is local."""
    grey = _grey(picture)
    steps = sum(float(np.abs(np.diff(grey, axis=axis)).mean()) for axis in (0, 1))
    return 100 * (sharpness(picture) + FLOOR) / (steps + FLOOR)


class Sign(NamedTuple):
    """How a measure tells the degraded picture."""

    measure: Measure
    rises: bool  # from gt to lq; else it falls
    sure: bool  # never against it by more than MARGIN, so that it can tell for a single pair


# Chosen on pairs made by our own synthesis and on real ones; a type that is not here, as moire,
# changes pictures in no one direction.
SIGNS: dict[str, Sign] = {
    "GN": Sign(noise, rises=True, sure=True),
    "RN": Sign(noise, rises=True, sure=True),
    "MB": Sign(sharpness, rises=False, sure=True),
    "DB": Sign(sharpness, rises=False, sure=True),
    "GB": Sign(sharpness, rises=False, sure=True),
    "J": Sign(blocks, rises=True, sure=False),
    "H": Sign(dullness, rises=True, sure=True),
    "RS": Sign(whiteness, rises=True, sure=False),
    "RD": Sign(fineness, rises=False, sure=False),
    "RSD": Sign(whiteness, rises=True, sure=False),
    "S": Sign(whiteness, rises=True, sure=False),
    "MS": Sign(sharpness, rises=False, sure=False),
    "LL": Sign(brightness, rises=False, sure=True),
    "MB+J": Sign(sharpness, rises=False, sure=False),
    "MB+RS": Sign(whiteness, rises=True, sure=False),
    "MB+LL+GN": Sign(brightness, rises=False, sure=True),
    "LL+H+RS+S": Sign(colour, rises=False, sure=False),
    "DS+GN+GB+J": Sign(fineness, rises=False, sure=False),
}


def vote(degradation: str, lq: Pixels, gt: Pixels) -> float:
    """How clearly lq is the degraded one, as a logarithm; negative: gt is; 0: it cannot be told."""
    sign = SIGNS.get(degradation)
    if sign is None:
        return 0.0
    of_lq, of_gt = (sign.measure(_middle(picture)) + FLOOR for picture in (lq, gt))
    return float(np.log(of_lq / of_gt)) * (1 if sign.rises else -1)


def all_swapped(votes: NDArray[np.float32]) -> bool:
    """Whether a clear majority of a source's votes says so."""
    return len(votes) >= FEWEST and bool(np.mean(votes < 0) > MOST)


def swapped(degradation: str, votes: NDArray[np.float32]) -> NDArray[np.intp]:
    """The places of pairs that are unmistakably the wrong way round, among others that are not."""
    sign = SIGNS.get(degradation)
    if sign is None or not sign.sure or len(votes) < FEWEST or np.mean(votes > 0) < MOST:
        return np.empty(0, np.intp)
    return np.flatnonzero(votes < -max(MARGIN, float(np.median(votes)) / 2))


def _middle(picture: Pixels) -> Pixels:
    height, width = picture.shape[:2]
    top, left = (max(0, (length - LOOKED_AT) // 2) for length in (height, width))
    return picture[top : top + LOOKED_AT, left : left + LOOKED_AT]


def _grey(picture: Pixels) -> NDArray[np.float32]:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
