"""Film grain."""

import cv2
import numpy as np
from numpy.random import Generator

from maskdcpt_cli.degradations import Range
from maskdcpt_cli.synthesis.contract import Degraded, Image, SynthesisSpec


def film_grain(image: Image, level: float, generator: Generator) -> Degraded:
    """Add soft grey noise, strongest in the middle tones, where a film has the most grains."""
    size = float(generator.uniform(0.6, 1.2))
    noise = generator.standard_normal(image.shape[:2]).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), size)
    grain = soft / max(float(soft.std()), 1e-6)
    tone = image.mean(axis=2)
    strength = (level / 255) * 2 * np.sqrt(tone * (1 - tone))
    lq = np.clip(image + (strength * grain)[..., None], 0, 1).astype(np.float32)
    return Degraded(lq, {"size": size})


FILM_GRAIN = SynthesisSpec(
    {"soft": film_grain}, unit="sigma, of 255", least=0, usual=Range(5, 40), most=100
)
