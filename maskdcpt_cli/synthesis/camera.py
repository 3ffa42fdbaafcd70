"""Camera noise: it arises on the sensor, and development changes it.

Model: shot and read noise (Foi et al., Practical Poissonian-Gaussian Noise Modeling, TIP 2008),
put under white balance, tone curve and transfer curve (Brooks et al., Unprocessing Images for
Learned Raw Denoising, CVPR 2019), with the blotches that demosaicing and the camera's own denoiser
leave (Zamir et al., CycleISP, CVPR 2020).
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskdcpt_cli.synthesis.contract import Degraded, Image
from maskdcpt_cli.synthesis.jpeg import jpeg
from maskdcpt_cli.synthesis.light import to_linear, to_srgb
from maskdcpt_cli.synthesis.noise import normals

MID_GREY = 128
LOW_LEVEL = 5  # level below which JPEG is gentler, too
# From luma, red and blue difference to RGB (ITU-R BT.601).
TO_RGB = np.array([[1, 1.402, 0], [1, -0.714, -0.344], [1, 0, 1.772]], np.float32)
Plane = NDArray[np.float32]  # (H, W)


class Sensor(NamedTuple):
    """Properties of a camera and its settings."""

    read: float  # variance of read noise, of that of shot noise at mid-grey
    red: float  # white-balance gains
    blue: float
    contrast: float  # of the tone curve, 0 none to 1 smoothstep's


def noise(image: Image, level: float, generator: Generator) -> Degraded:
    """Add the noise of a high sensitivity; `level` is its rms at mid-grey in sRGB, of 255.

    It is added to linear light and developed again: so it is clipped with the light, and skewed
    where the curve bends, which adds to the rms up to 8 % at level 10 and a quarter at 30.
    """
    sensor = Sensor(
        read=float(np.exp(generator.uniform(np.log(0.003), np.log(0.1)))),
        red=generator.uniform(1, 2),
        blue=generator.uniform(1, 2),
        contrast=generator.uniform(0.5, 1),
    )
    denoised = generator.random()
    lq = grain(image.shape[:2], generator, denoised=denoised)
    table = noise_levels(sensor) * np.float32(level / 255)
    lq *= cv2.LUT(cv2.convertScaleAbs(image, alpha=255), table[None])
    lq += to_linear(image)
    return Degraded(to_srgb(lq), sensor._asdict() | {"denoised": denoised})


def noise_and_jpeg(image: Image, level: float, generator: Generator) -> Degraded:
    """Add `noise`, then compress as the camera does, by JPEG of quality 80 to 98."""
    lq, parameters = noise(image, level, generator)
    loss = generator.uniform(2, 20)
    quality = round(100 - min(level / LOW_LEVEL, 1) * loss)
    if quality < 100:
        lq = jpeg(lq, quality, generator).lq
    return Degraded(lq, parameters | {"quality": quality})


def noise_levels(sensor: Sensor) -> NDArray[np.float32]:
    """Return the noise levels in linear light at each of 256 sRGB values.

    They are standard deviations of red, green and blue, (256, 3), scaled so that their rms in
    sRGB is 1 at mid-grey.
    """
    srgb = np.linspace(0, 1, 256, dtype=np.float32)
    light = to_linear(srgb)
    smooth = 0.5 - np.sin(np.arcsin(1 - 2 * light) / 3)  # of which smoothstep makes `light`
    gains = np.array([sensor.red, 1, sensor.blue])
    before = (light + sensor.contrast * (smooth - light))[:, None]  # the tone curve
    variance = gains * (before + gains * sensor.read * before[MID_GREY])
    levels = np.sqrt(variance) * np.gradient(light, before[:, 0])[:, None]
    steepness = np.gradient(srgb, light)[MID_GREY]
    levels /= steepness * np.sqrt(np.square(levels[MID_GREY]).mean())
    return np.asarray(levels, np.float32)


def grain(size: tuple[int, int], generator: Generator, *, denoised: float) -> Image:
    """Sample noise of rms 1, (height, width, 3).

    Args:
        size: height and width in pixels.
        generator: source of the noise.
        denoised: strength of the camera's own denoiser: 0 is almost white in every channel, 1 is
            soft in luma, and faint, large blotches in chroma.
    """
    luma, *differences = normals((3, *size), generator)
    planes = [_soft(luma, 0.35 + 0.5 * denoised)]
    planes += [_soft(plane, 0.35 + 1.8 * denoised, 0.35 + 6 * denoised) for plane in differences]
    faint = 0.9 * 0.25**denoised
    mixed = TO_RGB * np.array([1, faint, faint], np.float32)
    mixed /= np.sqrt(np.square(mixed).sum() / 3)
    return np.asarray(cv2.transform(cv2.merge(planes), mixed))


def _soft(plane: Plane, *sigmas: float) -> Plane:
    """Blur white noise at one scale, or in equal parts at several, and scale it to rms 1 again."""
    parts = [_unit(np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma))) for sigma in sigmas]
    return _unit(sum(parts[1:], start=parts[0]))


def _unit(plane: Plane) -> Plane:
    plane *= np.float32(np.sqrt(plane.size) / cv2.norm(plane))
    return plane
