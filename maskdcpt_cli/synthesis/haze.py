"""Haze: light is lost on its way to the camera, and airlight is added (Koschmieder, 1924).

I = J t + A (1 - t), t = exp(-optical depth), per pixel (Narasimhan & Nayar, Vision and the
Atmosphere, IJCV 2002). As in RESIDE (Li et al., TIP 2019) it is computed on sRGB values.
"""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskdcpt_cli.synthesis.contract import Degraded, Image, Parameters
from maskdcpt_cli.synthesis.depth import landscape_depth, scene_depth

Plane = NDArray[np.float32]  # (H, W)

WAVELENGTHS = np.array((610, 550, 465), np.float32) / 550  # of red, green, blue, to that of green
BANKS = ((3, 2), (6, 4), (12, 8), (24, 16))  # cells down and across: fog forms flat banks
THUMBNAIL = 128  # sides of the map of them


def homogeneous(image: Image, level: float, generator: Generator) -> Degraded:
    """Add the same haze everywhere, of optical depth `level` up to the farthest point."""
    distance, near = _distance(image, generator)
    lq, parameters = _seen_through(image, distance, level, generator)
    return Degraded(lq, parameters | {"near": near})


def patchy(image: Image, level: float, generator: Generator) -> Degraded:
    """Add banks of fog, thicker near the ground or above it, on average as `homogeneous`."""
    distance, near = _distance(image, generator)
    unevenness, ground = generator.uniform((0.25, -0.5), (0.8, 1.5)).tolist()
    density = unevenness * _fractal(generator)
    density += np.linspace(-ground / 2, ground / 2, THUMBNAIL, dtype=np.float32)[:, None]
    np.exp(density, out=density)
    density /= density.mean()
    distance *= cv2.resize(density, image.shape[1::-1])
    lq, parameters = _seen_through(image, distance, level, generator)
    return Degraded(lq, parameters | {"near": near, "unevenness": unevenness, "ground": ground})


def even(image: Image, level: float, generator: Generator) -> Degraded:
    """Add nearly the same haze everywhere, as where all is equally far: `level` at the most.

    The optical depth falls by up to a quarter towards one side of the image, whatever it shows.
    """
    slope, heading = generator.uniform((0, 0), (0.25, 2 * np.pi)).tolist()
    height, width = image.shape[:2]
    x, y = (np.linspace(-1, 1, n, dtype=np.float32) for n in (width, height))
    across, down = np.cos(heading), np.sin(heading)
    distance = np.float32(across) * x + np.float32(down) * y[:, None]
    distance *= np.float32(slope / 2 / (abs(across) + abs(down)))
    distance += np.float32(1 - slope / 2)
    lq, parameters = _seen_through(image, distance, level, generator)
    return Degraded(lq, parameters | {"slope": slope})


def landscape(image: Image, level: float, generator: Generator) -> Degraded:
    """Add haze to a wide view: none in the foreground, `level` at the horizon, and bluish.

    Haze scatters blue more than red, by the wavelength to the power of minus the exponent of
    Angstrom (1929), which is 0 for fog and 1.3 for haze.
    """
    distance = landscape_depth(image, generator)
    blue, exponent = generator.uniform((0, 0), (0.08, 1.3)).tolist()
    airlight = _airlight(image, generator, blue=blue)
    through = [
        np.asarray(cv2.exp(distance * np.float32(-level * stronger)), np.float32)
        for stronger in WAVELENGTHS**-exponent
    ]
    lq = np.asarray(cv2.merge(through), np.float32)
    lq *= image - airlight
    lq += airlight
    parameters = dict(zip(("red", "green", "blue"), airlight.tolist(), strict=True))
    return Degraded(np.clip(lq, 0, 1, out=lq), parameters | {"exponent": exponent})


def _distance(image: Image, generator: Generator) -> tuple[Plane, float]:
    """Sample distances relative to the farthest, and the least: a crop may show far things only."""
    near = 0.05 + 0.9 * generator.random() ** 1.5
    distance = scene_depth(image, generator)
    distance *= np.float32(1 - near)
    distance += np.float32(near)
    return distance, near


def _seen_through(
    image: Image, distance: Plane, level: float, generator: Generator
) -> tuple[Image, Parameters]:
    airlight = _airlight(image, generator)
    distance *= np.float32(-level)
    through = np.asarray(cv2.exp(distance), np.float32)
    lq = image * cv2.merge([through] * 3)
    np.subtract(1, through, out=through)
    lq += cv2.merge([through * colour for colour in airlight])
    parameters = dict(zip(("red", "green", "blue"), airlight.tolist(), strict=True))
    return np.clip(lq, 0, 1, out=lq), parameters


def _airlight(image: Image, generator: Generator, *, blue: float = 0) -> NDArray[np.float32]:
    """Sample a greyish white, or darker in a dark image; slightly blue or yellow, seldom dusty.

    It is bluer by the fraction `blue` on average.
    """
    dusk, dust = generator.random(2) < (0.15, 0.08)
    brightness = generator.uniform(*((0.4, 0.7) if dusk else (0.7, 1.0)))
    small = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA)
    brightness = max(brightness, float(np.quantile(small, 0.9)))
    warmth = generator.uniform(0.04, 0.15) if dust else generator.normal(-blue, 0.02)
    tint = np.array([1 + warmth, 1 + generator.normal(0, 0.005), 1 - warmth])
    return np.asarray(np.minimum(brightness * tint, 1), np.float32)


def _fractal(generator: Generator) -> Plane:
    """Sample smooth noise of mean 0 and variance about 1, half as strong at each finer scale."""
    noise = np.zeros((THUMBNAIL, THUMBNAIL), np.float32)
    for octave, cells in enumerate(BANKS):
        grid = generator.standard_normal(cells, dtype=np.float32)
        noise += cv2.resize(grid, noise.shape, interpolation=cv2.INTER_CUBIC) / 2**octave
    return noise
