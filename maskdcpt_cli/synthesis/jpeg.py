"""JPEG as in the paper: by OpenCV, with chroma at half the resolution."""

import cv2
import numpy as np
from numpy.random import Generator

from maskdcpt_cli.degradations import Range
from maskdcpt_cli.synthesis.contract import Degraded, Image, Parameters

BLOCK = 8
USUAL_QUALITIES = Range(70, 98)  # of the JPEG files that people have
SAMPLINGS = {
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}  # of chroma


def jpeg(image: Image, level: float, generator: Generator) -> Degraded:
    """Compress at the integer quality nearest to `level`, from 100 down to 1."""
    quality = round(level)
    return Degraded(_compressed(image, quality, "4:2:0"), {"quality": quality})


def twice(image: Image, level: float, generator: Generator) -> Degraded:
    """Compress twice, once at quality `level` and once at a better one, in any order.

    In between the photo was cropped, so that the two grids of blocks differ, as in a photo that was
    cut and sent again. Either may have chroma at any usual resolution.
    """
    worse = round(level)
    better = round(generator.uniform(worse, 100))
    first, second = (worse, better) if generator.random() < 0.5 else (better, worse)
    left, top = generator.integers(BLOCK, size=2).tolist()
    names = list(SAMPLINGS)
    before, after = (names[i] for i in generator.integers(len(names), size=2))
    whole = np.asarray(cv2.copyMakeBorder(image, top, 0, left, 0, cv2.BORDER_REFLECT), np.float32)
    cropped = np.ascontiguousarray(_compressed(whole, first, before)[top:, left:])
    parameters: Parameters = {"first": first, "second": second, "left": left, "top": top}
    parameters |= {"first chroma": before, "second chroma": after}
    return Degraded(_compressed(cropped, second, after), parameters)


def _compressed(image: Image, quality: int, sampling: str) -> Image:
    pixels = cv2.cvtColor(cv2.convertScaleAbs(image, alpha=255), cv2.COLOR_RGB2BGR)
    options = (
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        SAMPLINGS[sampling],
    )
    _, stream = cv2.imencode(".jpg", pixels, options)
    decoded = np.asarray(cv2.imdecode(stream, cv2.IMREAD_COLOR))
    lq = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).astype(np.float32)
    lq /= 255
    return lq


def usual_jpeg(image: Image, generator: Generator) -> Image:
    """Compress at a usual quality, as most photos are, whatever their degradation (ours)."""
    return jpeg(image, generator.uniform(*USUAL_QUALITIES), generator).lq
