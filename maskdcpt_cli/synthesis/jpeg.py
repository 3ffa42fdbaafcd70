"""JPEG as in the paper: by OpenCV, with chroma at half the resolution."""

import cv2
import numpy as np
from numpy.random import Generator

from maskdcpt_cli.degradations import Range
from maskdcpt_cli.synthesis.contract import Degraded, Image

USUAL_QUALITIES = Range(70, 98)  # of the JPEG files that people have


def jpeg(image: Image, level: float, generator: Generator) -> Degraded:
    """Compress at the integer quality nearest to `level`, from 100 down to 1."""
    quality = round(level)
    pixels = cv2.cvtColor(cv2.convertScaleAbs(image, alpha=255), cv2.COLOR_RGB2BGR)
    _, stream = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(stream, cv2.IMREAD_COLOR))
    lq = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).astype(np.float32)
    lq /= 255
    return Degraded(lq, {"quality": quality})


def usual_jpeg(image: Image, generator: Generator) -> Image:
    """Compress at a usual quality, as most photos are, whatever their degradation (ours)."""
    return jpeg(image, generator.uniform(*USUAL_QUALITIES), generator).lq
