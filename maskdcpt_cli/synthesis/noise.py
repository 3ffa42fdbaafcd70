"""Noise as in papers: added to sRGB values, and the same everywhere.

All three have the same scale of levels: the root mean square of the noise on a mid-grey image, of
255.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskdcpt_cli.synthesis.contract import Degraded, Image, Parameters
from maskdcpt_cli.synthesis.light import STEPS

MID_GREY = 0.5


def gaussian(image: Image, level: float, generator: Generator) -> Degraded:
    """Add white Gaussian noise of standard deviation `level`, clipped to [0, 1] as in the paper."""
    lq = normals(image.shape, generator)
    lq *= np.float32(level / 255)
    lq += image
    return Degraded(np.clip(lq, 0, 1, out=lq), {})


def poisson(image: Image, level: float, generator: Generator) -> Degraded:
    """Add photon noise: its variance is the intensity, `0.5 * (255 / level)^2` counts at white.

    Counts come from normal numbers by the first terms of the expansion of Cornish and Fisher
    (1938): integers and skewed, from one count on their mean correct within 3 % and their variance
    within 5 %. It takes a tenth of the time of exact ones, and another level shows the same grain.
    """
    photons = np.float32(MID_GREY * (255 / max(level, 1e-3)) ** 2)
    expected = image * photons
    z = normals(image.shape, generator)
    counts = np.square(z)
    counts -= 1
    counts *= expected
    counts /= 6 * expected + np.float32(0.3)  # divides by six, but keeps black black
    z *= np.sqrt(expected)
    counts += z
    counts += expected
    lq = np.rint(counts, out=counts)
    lq /= photons
    return Degraded(np.clip(lq, 0, 1, out=lq), {"photons": float(photons)})


def salt_and_pepper(image: Image, level: float, generator: Generator) -> Degraded:
    """Set a fraction `(level / 127.5)^2` of the positions to black and white in equal parts.

    With equal probability a position is a whole pixel, as when a transmission fails, or one value
    of three, as in MATLAB's imnoise and most papers.
    """
    fraction = min(1.0, (level / (255 * MID_GREY)) ** 2)
    values = (1, 3)[int(generator.integers(2))]
    chance = generator.random((*image.shape[:2], values), dtype=np.float32)
    lq = np.where(chance < fraction / 2, np.float32(0), image)
    lq = np.where(chance > 1 - fraction / 2, np.float32(1), lq)
    return Degraded(lq, {"share": fraction, "values": values})


def impulse(image: Image, level: float, generator: Generator) -> Degraded:
    """Replace positions by salt and pepper in any proportion, or by random values.

    As many as for an rms of `level` at mid-grey: `(level / 127.5)^2` of them by salt and pepper,
    three times as many by values that are even in [0, 1] (random-valued impulse noise). A position
    is a whole pixel, black, white or of one colour, or one value of three.
    """
    fraction = min(1.0, (level / (255 * MID_GREY)) ** 2)
    salt = generator.random()
    values = (1, 3)[int(generator.integers(2))]
    random_valued = int(generator.integers(2))
    size = image.shape[:2]
    chance = generator.random((*size, values), dtype=np.float32)
    if random_valued:
        fraction = min(1.0, 3 * fraction)
        replaced = generator.random(image.shape, dtype=np.float32)
    else:
        replaced = (chance < fraction * salt).astype(np.float32)
    lq = np.where(chance < fraction, replaced, image)
    parameters: Parameters = {"share": fraction, "values": values, "random": random_valued}
    return Degraded(lq, parameters | ({} if random_valued else {"salt": salt}))


def normals(shape: tuple[int, ...], generator: Generator) -> NDArray[np.float32]:
    """Sample standard normal numbers up to 4.2, in a third of the time that NumPy takes."""
    indices = generator.integers(STEPS + 1, size=shape, dtype=np.uint16)
    return np.take(_QUANTILES, indices, mode="clip")  # see light.looked_up


def _normal_quantiles() -> NDArray[np.float32]:
    z = np.linspace(-6, 6, 20_001)
    density = np.exp(-z * z / 2) * (z[1] - z[0]) / np.sqrt(2 * np.pi)
    distribution = np.cumsum(density) - density / 2
    middles = (np.arange(STEPS + 1) + 0.5) / (STEPS + 1)
    return np.interp(middles, distribution, z).astype(np.float32)


_QUANTILES = _normal_quantiles()
