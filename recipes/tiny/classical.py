"""Classical tools without a network: OpenCV's filters, and dark-channel dehazing.

Each is a function of an image and a strength. A table gives the strength that does best on a whole
set, which is more than a user could know.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.synthesis.contract import Image


class Tool(NamedTuple):
    """A filter and the strengths at which to try it."""

    name: str
    run: Callable[[Image, float], Image]
    strengths: tuple[float, ...]


def non_local_means(lq: Image, h: float) -> Image:
    pixels = _bytes(lq)
    return _floats(cv2.fastNlMeansDenoisingColored(pixels, None, h, h, 7, 21))


def bilateral(lq: Image, sigma: float) -> Image:
    return np.asarray(cv2.bilateralFilter(lq, 7, sigma / 255, 3), np.float32)


def median(lq: Image, side: float) -> Image:
    return _floats(cv2.medianBlur(_bytes(lq), int(side)))


def unsharp_mask(lq: Image, amount: float) -> Image:
    blurred = cv2.GaussianBlur(lq, (0, 0), 1.5)
    return np.clip(np.float32(lq + amount * (lq - blurred)), 0, 1)


def clahe(lq: Image, limit: float) -> Image:
    lightness, a, b = cv2.split(cv2.cvtColor(_bytes(lq), cv2.COLOR_RGB2LAB))
    equalised = cv2.createCLAHE(limit, (8, 8)).apply(lightness)
    return _floats(cv2.cvtColor(cv2.merge((equalised, a, b)), cv2.COLOR_LAB2RGB))


def dark_channel(lq: Image, omega: float) -> Image:
    """He et al., Single Image Haze Removal Using Dark Channel Prior, 2009, and a guided filter."""
    patch = np.ones((15, 15), np.uint8)
    dark = cv2.erode(lq.min(axis=2), patch)
    haziest = dark.ravel().argsort()[-max(1, dark.size // 1000) :]
    airlight = lq.reshape(-1, 3)[haziest].mean(axis=0)
    through = 1 - omega * cv2.erode((lq / airlight).min(axis=2), patch)
    through = _guided(cv2.cvtColor(lq, cv2.COLOR_RGB2GRAY), np.float32(through))
    restored = (lq - airlight) / np.maximum(through, 0.1)[..., None] + airlight
    return np.clip(restored, 0, 1).astype(np.float32)


def _guided(guide: NDArray[np.float32], plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """He et al., Guided Image Filtering, 2010, Eq. 5 to 8."""

    def mean(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.blur(x, (81, 81)), np.float32)

    covariance = mean(guide * plane) - mean(guide) * mean(plane)
    slope = covariance / (mean(guide * guide) - mean(guide) ** 2 + 1e-3)
    offset = mean(plane) - slope * mean(guide)
    return mean(np.float32(slope)) * guide + mean(np.float32(offset))


def _bytes(image: Image) -> NDArray[np.uint8]:
    return np.asarray(cv2.convertScaleAbs(image, alpha=255), np.uint8)


def _floats(pixels: NDArray[np.integer] | cv2.typing.MatLike) -> Image:
    return np.divide(pixels, 255, dtype=np.float32)


NLM = Tool("non-local means", non_local_means, (3, 5, 10, 20, 30))
SHARPER = Tool("unsharp mask", unsharp_mask, (0.5, 1, 2, 4))
MEDIAN = Tool("median filter", median, (3, 5))
TOOLS: Mapping[str, Tool] = {
    "GN": NLM,
    "RN": NLM,
    "MB": SHARPER,
    "DB": SHARPER,
    "GB": SHARPER,
    "J": Tool("bilateral filter", bilateral, (5, 10, 20)),
    "H": Tool("dark channel prior", dark_channel, (0.6, 0.8, 0.95)),
    "RS": MEDIAN,
    "RD": MEDIAN,
    "S": MEDIAN,
    "MS": MEDIAN,
    "LL": Tool("CLAHE", clahe, (2, 4, 8, 16)),
    "MR": MEDIAN,
}
