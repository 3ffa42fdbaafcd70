"""The noise of cameras: born on the sensor, changed by all that makes a photo of its values.

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
    """What sets one camera and its settings apart from another."""

    read: float  # variance of read noise, of that of shot noise at mid-grey
    red: float  # white-balance gains
    blue: float
    contrast: float  # of the tone curve, 0 none to 1 smoothstep's


def noise(image: Image, level: float, generator: Generator) -> Degraded:
    """The noise of a high sensitivity: `level` is its rms at mid-grey in sRGB, of 255.

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
    """As `noise`, in a photo that the camera saves as JPEG of quality 80 to 98."""
    lq, parameters = noise(image, level, generator)
    loss = generator.uniform(2, 20)
    quality = round(100 - min(level / LOW_LEVEL, 1) * loss)
    if quality < 100:
        lq = jpeg(lq, quality, generator).lq
    return Degraded(lq, parameters | {"quality": quality})


def noise_levels(sensor: Sensor) -> NDArray[np.float32]:
    """Standard deviations in linear light of red, green and blue at each of 256 sRGB values,
    (256, 3), such that their rms in sRGB is 1 at mid-grey."""
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
    """Noise of rms 1, (height, width, 3).

    Args:
        denoised: how much the camera did against it; from 0, all but white in every channel, to 1,
            soft in luma and left in chroma as faint, large blotches.
    """
    luma, *differences = normals((3, *size), generator)
    planes = [_soft(luma, 0.35 + 0.5 * denoised)]
    planes += [_soft(plane, 0.35 + 1.8 * denoised, 0.35 + 6 * denoised) for plane in differences]
    faint = 0.9 * 0.25**denoised
    mixed = TO_RGB * np.array([1, faint, faint], np.float32)
    mixed /= np.sqrt(np.square(mixed).sum() / 3)
    return np.asarray(cv2.transform(cv2.merge(planes), mixed))


def _soft(plane: Plane, *sigmas: float) -> Plane:
    """White noise made soft at one scale, or in equal parts at several, of rms 1 again."""
    parts = [_unit(np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma))) for sigma in sigmas]
    return _unit(sum(parts[1:], start=parts[0]))


def _unit(plane: Plane) -> Plane:
    plane *= np.float32(np.sqrt(plane.size) / cv2.norm(plane))
    return plane
