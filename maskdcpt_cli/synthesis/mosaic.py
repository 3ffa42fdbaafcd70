"""The colour filters of a sensor, and what it costs to guess the colours they took."""

import cv2
import numpy as np
from numpy.random import Generator

from maskdcpt_cli.synthesis.contract import Degraded, Image

WHITE = 65535


def bggr(image: Image, level: float, generator: Generator) -> Degraded:
    """Keep one colour a pixel in the pattern BGGR, fill in by OpenCV's edge-aware demosaicing
    (the paper's), and mix `level` of that with the image."""
    mosaic = image[..., 1].copy()
    mosaic[::2, ::2] = image[::2, ::2, 2]
    mosaic[1::2, 1::2] = image[1::2, 1::2, 0]
    raw = np.rint(mosaic * WHITE).astype(np.uint16)
    filled = cv2.cvtColor(raw, cv2.COLOR_BayerBGGR2RGB_EA).astype(np.float32)
    lq: Image = np.asarray(cv2.addWeighted(image, 1 - level, filled, level / WHITE, 0), np.float32)
    return Degraded(np.clip(lq, 0, 1, out=lq), {})
