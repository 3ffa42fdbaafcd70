"""Low light: underexposed images, not amplified."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskdcpt_cli.synthesis.camera import grain
from maskdcpt_cli.synthesis.contract import Degraded, Image
from maskdcpt_cli.synthesis.jpeg import jpeg
from maskdcpt_cli.synthesis.light import TO_LINEAR, looked_up, to_srgb

GRID = 24  # positions a side at which the fall-off of light is worked out
NEARLY_WHITE = 0.96


class Night(NamedTuple):
    """A dark scene and the camera in front of it."""

    warmth: float  # stops more of red, and fewer of blue, for a stop lost
    tint: float  # stops more of green, likewise
    contrast: float  # exponent of the tone curve above 1, for a stop lost
    lights: float  # fraction of the stops that white, as a lamp or a window, keeps
    white: float  # least channel, in sRGB, from which on light is kept
    pool: float  # fraction of the stops that the best lit spot keeps
    x: float  # where that is, in widths
    y: float  # in heights
    reach: float  # how far its light goes, likewise
    read: float  # standard deviation of read noise in linear light
    shot: float  # linear light whose shot noise is as strong
    red: float  # white-balance gains, of noise
    blue: float
    denoised: float  # see `camera.grain`
    black: float  # linear light taken for black
    loss: float  # of JPEG quality; 0 for no JPEG


def low_light(image: Image, level: float, generator: Generator) -> Degraded:
    """Underexpose an image by `level` stops."""
    return _underexposed(image, level, _night(generator), generator)


def backlit(image: Image, level: float, generator: Generator) -> Degraded:
    """Underexpose an image by `level` stops, but hardly what is bright, as the sky or a window."""
    lights, white = generator.uniform((0.6, 0.4), (1, 0.85)).tolist()
    night = _night(generator)._replace(lights=lights, white=white)
    return _underexposed(image, level, night, generator)


def _underexposed(image: Image, level: float, night: Night, generator: Generator) -> Degraded:
    lost = 1 - 2.0**-level
    light = looked_up(_tone(night, level), image)
    light *= _exposure(image.shape[:2], night, level)
    if night.lights:
        light *= _glow(image, night, level)
    light += _noise(light, night, generator, strength=lost)
    light -= np.float32(lost * night.black)
    lq = to_srgb(light)
    lq *= 255
    np.rint(lq, out=lq)
    lq /= 255
    quality = round(100 - lost * night.loss)
    if quality < 100:
        lq = jpeg(lq, quality, generator).lq
    return Degraded(lq, {name: float(value) for name, value in night._asdict().items()})


def _night(generator: Generator) -> Night:
    warmth, tint = generator.normal(0, (0.05, 0.015))
    lit, bright, compressed = generator.random(3) < (0.5, 0.3, 0.5)
    return Night(
        warmth=warmth,
        tint=tint,
        contrast=generator.uniform(-0.03, 0.03),
        lights=generator.uniform(0.2, 0.8) * bright,
        white=NEARLY_WHITE,
        pool=generator.uniform(0.1, 0.6) * lit,
        x=generator.uniform(-0.1, 1.1),
        y=generator.uniform(-0.1, 1.1),
        reach=generator.uniform(0.2, 0.7),
        read=np.exp(generator.uniform(np.log(8e-5), np.log(6e-4))),
        shot=np.exp(generator.uniform(np.log(2e-3), np.log(5e-2))),
        red=generator.uniform(1, 2),
        blue=generator.uniform(1, 2),
        denoised=generator.random() ** 2,
        black=6e-4 * generator.random() ** 2,
        loss=generator.uniform(2, 30) * compressed,
    )


def _tone(night: Night, level: float) -> NDArray[np.float32]:
    """Return linear light before it is reduced, of all sRGB values."""
    return np.asarray(np.power(TO_LINEAR, np.float32(1 + night.contrast * level)))


def _glow(image: Image, night: Night, level: float) -> Image:
    """Return the factors of light where all channels are bright: (height, width, 3)."""
    red, green, blue = cv2.split(image)
    least = np.asarray(cv2.min(cv2.min(red, green), blue), np.float32)
    whiteness = (least - np.float32(night.white)) / np.float32(1 - night.white)
    kept = np.square(np.clip(whiteness, 0, 1))
    glow = np.exp2(np.float32(night.lights * level) * kept)
    return np.asarray(cv2.merge([glow] * 3), np.float32)


def _exposure(size: tuple[int, int], night: Night, level: float) -> Image:
    """Return the fraction of the light that is left, (height, width, 3)."""
    across, down = np.meshgrid(
        np.linspace(-night.x, 1 - night.x, GRID), np.linspace(-night.y, 1 - night.y, GRID)
    )
    lit = np.exp(-(across**2 + down**2) / (2 * night.reach**2))
    cast = np.array([night.warmth, night.tint, -night.warmth])
    stops = -level * (1 - night.pool * lit[..., None] - cast)
    left = np.exp2(stops).astype(np.float32)
    return np.asarray(cv2.resize(left, size[::-1]))


def _noise(light: Image, night: Night, generator: Generator, *, strength: float) -> Image:
    """Sample shot and read noise of linear light, in linear light."""
    sigmas = np.diag([night.red, 1, night.blue]) * strength * night.read
    coloured = grain(light.shape[:2], generator, denoised=night.denoised)
    residual: Image = np.asarray(cv2.transform(coloured, sigmas.astype(np.float32)))
    variance = light / np.float32(night.shot)
    variance += 1
    residual *= cv2.sqrt(variance)
    return residual
