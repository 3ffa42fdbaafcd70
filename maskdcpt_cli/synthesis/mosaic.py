"""Mosaic: the colour filter array of a sensor, and the loss of demosaicing it."""

import cv2
import numpy as np
from numpy.random import Generator

from maskdcpt_cli.synthesis.contract import Degraded, Image

WHITE = 65535


def bggr(image: Image, level: float, generator: Generator) -> Degraded:
    """Demosaic the BGGR pattern of an image, and blend the result with it by `level`.

    Demosaicing is OpenCV's edge-aware one, as in the paper.
    """
    mosaic = image[..., 1].copy()
    mosaic[::2, ::2] = image[::2, ::2, 2]
    mosaic[1::2, 1::2] = image[1::2, 1::2, 0]
    raw = np.rint(mosaic * WHITE).astype(np.uint16)
    filled = cv2.cvtColor(raw, cv2.COLOR_BayerBGGR2RGB_EA).astype(np.float32)
    lq: Image = np.asarray(cv2.addWeighted(image, 1 - level, filled, level / WHITE, 0), np.float32)
    return Degraded(np.clip(lq, 0, 1, out=lq), {})
