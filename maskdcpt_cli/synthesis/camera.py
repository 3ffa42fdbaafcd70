"""Camera noise: it arises on the sensor, and development changes it.

Model: shot and read noise (Foi et al., Practical Poissonian-Gaussian Noise Modeling, TIP 2008),
put under white balance, tone curve and transfer curve (Brooks et al., Unprocessing Images for
Learned Raw Denoising, CVPR 2019), with the blotches that demosaicing and the camera's own denoiser
leave (Zamir et al., CycleISP, CVPR 2020).
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskdcpt_cli.synthesis.contract import Degraded, Image, Parameters
from maskdcpt_cli.synthesis.jpeg import jpeg
from maskdcpt_cli.synthesis.light import to_linear, to_srgb
from maskdcpt_cli.synthesis.noise import normals
from maskdcpt_cli.synthesis.optics import Plane, in_colour

MID_GREY = 128
EDGE = 0.1  # mean of the Laplacian from which a denoiser spares a place
LOW_LEVEL = 5  # level below which JPEG is gentler, too
# From luma, red and blue difference to RGB (ITU-R BT.601).
TO_RGB = np.array([[1, 1.402, 0], [1, -0.714, -0.344], [1, 0, 1.772]], np.float32)


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
    sensor = _sensor(generator)
    denoised = generator.random()
    lq = grain(image.shape[:2], generator, denoised=denoised)
    lq = _developed(image, lq, level, sensor)
    return Degraded(lq, sensor._asdict() | {"denoised": denoised})


def noise_and_jpeg(image: Image, level: float, generator: Generator) -> Degraded:
    """Add `noise`, then compress as the camera does, by JPEG of quality 80 to 98."""
    lq, parameters = noise(image, level, generator)
    lq, quality = _saved(lq, level, generator)
    return Degraded(lq, parameters | {"quality": quality})


def denoised(image: Image, level: float, generator: Generator) -> Degraded:
    """Add what a camera's own denoiser leaves of its noise, and compress as the camera does.

    `level` is its rms in smooth places at mid-grey in sRGB, of 255. It is soft in luma, of large
    blotches in chroma, and up to 2.5 times as strong at edges, which a denoiser spares. Its
    correlations are in the ranges of photos of PolyU (Xu et al., arXiv:1804.02603): in luma 0.5 to
    0.75 between neighbours, in chroma 0.8 to 0.95.
    """
    sensor = _sensor(generator)
    residue, parameters = residual_grain(image.shape[:2], generator)
    excess = generator.uniform(0, 1.5)
    residue *= in_colour(1 + np.float32(excess) * _edges(image))
    lq = _developed(image, residue, level, sensor)
    lq, quality = _saved(lq, level, generator)
    parameters |= sensor._asdict() | {"excess": excess, "quality": quality}
    return Degraded(lq, parameters)


def _sensor(generator: Generator) -> Sensor:
    return Sensor(
        read=float(np.exp(generator.uniform(np.log(0.003), np.log(0.1)))),
        red=generator.uniform(1, 2),
        blue=generator.uniform(1, 2),
        contrast=generator.uniform(0.5, 1),
    )


def _developed(image: Image, grain: Image, level: float, sensor: Sensor) -> Image:
    """Add noise of rms 1 to the linear light of an image, and develop it; `grain` is modified."""
    table = noise_levels(sensor) * np.float32(level / 255)
    grain *= cv2.LUT(cv2.convertScaleAbs(image, alpha=255), table[None])
    grain += to_linear(image)
    return to_srgb(grain)


def _saved(image: Image, level: float, generator: Generator) -> tuple[Image, int]:
    """Compress at quality 80 to 98, gentler below LOW_LEVEL; return the quality, too."""
    loss = generator.uniform(2, 20)
    quality = round(100 - min(level / LOW_LEVEL, 1) * loss)
    return (jpeg(image, quality, generator).lq if quality < 100 else image), quality


def _edges(image: Image) -> Plane:
    """Estimate where there is an edge or texture: (H, W) from 0, smooth, to 1."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    steps = cv2.blur(np.abs(cv2.Laplacian(grey, cv2.CV_32F)), (3, 3))
    return np.asarray(np.minimum(steps / EDGE, 1), np.float32)


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
    return _to_rgb(planes, faint)


def residual_grain(size: tuple[int, int], generator: Generator) -> tuple[Image, Parameters]:
    """Sample noise of rms 1 as a denoiser leaves it, (height, width, 3), and its parameters.

    Each plane is of fine noise and of blotches: of luma mostly the first, of chroma both.
    """
    fine, coarse, blotches, fine_chroma, coarse_chroma, faint = generator.uniform(
        (0.5, 1.5, 0, 0.9, 3, 0.25), (0.95, 5, 0.4, 2, 8, 0.6)
    ).tolist()
    planes = [_mixed(size, fine, coarse, blotches, generator)]
    planes += [_mixed(size, fine_chroma, coarse_chroma, 0.5, generator) for _ in range(2)]
    parameters: Parameters = {"fine": fine, "coarse": coarse, "blotches": blotches, "chroma": faint}
    parameters |= {"fine chroma": fine_chroma, "coarse chroma": coarse_chroma}
    return _to_rgb(planes, faint), parameters


def _mixed(
    size: tuple[int, int], fine: float, coarse: float, fraction: float, generator: Generator
) -> Plane:
    """Sample noise of which a fraction of the variance is blotches of another scale."""
    plane = np.sqrt(1 - fraction) * _blotches(size, fine, generator)
    plane += np.sqrt(fraction) * _blotches(size, coarse, generator)
    return _unit(np.asarray(plane, np.float32))


def _blotches(size: tuple[int, int], sigma: float, generator: Generator) -> Plane:
    """Sample noise blurred by sigma pixels, large ones on a coarser grid, at rms 1."""
    step = max(1, int(sigma))
    height, width = size
    white = normals((-(-height // step), -(-width // step)), generator)
    soft = cv2.GaussianBlur(white, (0, 0), sigma / step)
    if step > 1:
        soft = cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC)
    return _unit(np.asarray(soft, np.float32))


def _to_rgb(planes: Sequence[Plane], faint: float) -> Image:
    """Mix luma and two colour differences, `faint` times as strong, to noise of rms 1 in RGB."""
    mixed = TO_RGB * np.array([1, faint, faint], np.float32)
    mixed /= np.sqrt(np.square(mixed).sum() / 3)
    return np.asarray(cv2.transform(cv2.merge(list(planes)), mixed))


def _soft(plane: Plane, *sigmas: float) -> Plane:
    """Blur white noise at one scale, or in equal parts at several, and scale it to rms 1 again."""
    parts = [_unit(np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma))) for sigma in sigmas]
    return _unit(sum(parts[1:], start=parts[0]))


def _unit(plane: Plane) -> Plane:
    plane *= np.float32(np.sqrt(plane.size) / cv2.norm(plane))
    return plane
