"""Several degradations in a row, as in the mixed sets of UIR-2.5M (Sec. IV-D)."""

from collections.abc import Iterable
from functools import partial

import cv2
import numpy as np
from numpy.random import Generator

from maskdcpt_cli.synthesis import (
    defocus,
    haze,
    jpeg,
    low_light,
    motion_blur,
    noise,
    rain,
    raindrop,
    smoothing,
    snow,
)
from maskdcpt_cli.synthesis.contract import Degrade, Degraded, Image, Parameters

Step = tuple[str, Degrade, float]  # name, synthesis, level

BLURS = (("motion blur", motion_blur.shake, 8.0, 40.0), ("defocus", defocus.flat, 1.5, 5.0))
RAINS = (("rain", rain.streaks, 10.0, 100.0), ("drops", raindrop.drops, 5.0, 25.0))
INTERPOLATIONS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)


def blur_jpeg(image: Image, level: float, generator: Generator) -> Degraded:
    """Degrade as a video frame: motion blur, JPEG down to quality 10 (REDS, Nah et al., 2019)."""
    length, loss = generator.uniform((8, 15), (45, 90))
    return _one_after_another(
        image,
        generator,
        [
            ("blur", motion_blur.shake, level * length),
            ("jpeg", jpeg.jpeg, 100 - level * loss),
        ],
    )


def blur_rain(image: Image, level: float, generator: Generator) -> Degraded:
    """Blur by defocus or motion, then add rain or a wet lens.

    As in RainDropClarity (Jin et al., 2024).
    """
    steps: list[Step] = []
    for choices in (BLURS, RAINS):
        name, function, low, high = choices[int(generator.integers(len(choices)))]
        steps.append((name, function, level * generator.uniform(low, high)))
    return _one_after_another(image, generator, steps)


def blur_low_light_noise(image: Image, level: float, generator: Generator) -> Degraded:
    """Degrade as a long exposure in the dark: motion blur, low light, noise of an amplified sensor.

    As in LoL-Blur (Zhou et al., 2022).
    """
    length, stops, sigma = generator.uniform((8, 1.5, 2), (40, 4.5, 12))
    return _one_after_another(
        image,
        generator,
        [
            ("blur", motion_blur.shake, level * length),
            ("low light", low_light.low_light, level * stops),
            ("noise", noise.gaussian, level * sigma),
        ],
    )


def composite(image: Image, level: float, generator: Generator, *, parts: str) -> Degraded:
    """Add weather at dusk by `parts`, as "low+haze+rain" (CDD-11, Guo et al., OneRestore, 2024)."""
    stops, depth, rate, flakes = generator.uniform((1, 0.5, 20, 0.3), (3, 2.2, 100, 0.9))
    steps: dict[str, Step] = {
        "low": ("low light", low_light.low_light, level * stops),
        "rain": ("rain", rain.streaks, level * rate),
        "snow": ("snow", snow.snow, level * flakes),
        "haze": ("haze", haze.homogeneous, level * depth),
    }
    return _one_after_another(image, generator, [steps[part] for part in parts.split("+")])


# The mixtures of CDD-11, and all four at once (ours).
COMPOSITES: dict[str, Degrade] = {
    parts: partial(composite, parts=parts)
    for parts in (
        "low+haze",
        "low+rain",
        "low+snow",
        "haze+rain",
        "haze+snow",
        "low+haze+rain",
        "low+haze+snow",
        "low+haze+rain+snow",
    )
}


def downsample_noise_blur_jpeg(image: Image, level: float, generator: Generator) -> Degraded:
    """Blur, downsample by up to 4, add noise, compress, and upsample again.

    The first order of Real-ESRGAN (Wang et al., 2021).
    """
    sigma, factor, grain, loss = generator.uniform((0.5, 1.5, 2, 10), (3, 4, 25, 70))
    factor = 1 + level * (factor - 1)
    interpolation = INTERPOLATIONS[int(generator.integers(len(INTERPOLATIONS)))]
    blurred = smoothing.gaussian_and_sinc(image, level * sigma, generator)
    height, width = image.shape[:2]
    size = max(1, round(width / factor)), max(1, round(height / factor))
    small = _resized(blurred.lq, size, interpolation)
    degraded = _one_after_another(
        small,
        generator,
        [("noise", noise.gaussian, level * grain), ("jpeg", jpeg.jpeg, 100 - level * loss)],
    )
    lq = _resized(degraded.lq, (width, height), cv2.INTER_CUBIC)
    parameters = {"blur level": level * sigma, "factor": factor}
    parameters |= _named("blur", blurred.parameters) | degraded.parameters
    return Degraded(lq, parameters)


def _one_after_another(image: Image, generator: Generator, steps: Iterable[Step]) -> Degraded:
    lq, parameters = image, Parameters()
    for name, function, level in steps:
        lq, drawn = function(lq, level, generator)
        parameters |= {f"{name} level": level} | _named(name, drawn)
    return Degraded(lq, parameters)


def _named(step: str, parameters: Parameters) -> Parameters:
    return {f"{step} {key}": value for key, value in parameters.items()}


def _resized(image: Image, size: tuple[int, int], interpolation: int) -> Image:
    resized: Image = cv2.resize(image, size, interpolation=interpolation).astype(np.float32)
    return np.clip(resized, 0, 1, out=resized)  # cubic interpolation overshoots
