"""Raindrops on a window or lens: small lenses of water, out of focus, before a sharp scene.

A drop refracts like a strong lens: it shows an upside-down, smaller view of much of the scene, as
in Roser & Geiger (Video-Based Raindrop Detection, 2009), where it covers the pixels behind it
(Qian et al., Attentive GAN for Raindrop Removal, CVPR 2018). Here each is a paraboloid of water
with a wavy outline; the view through it is bent by its slope, which is 1 at the rim of any drop.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskdcpt_cli.synthesis.contract import Degraded, Image, Parameters
from maskdcpt_cli.synthesis.optics import Plane, in_colour
from maskdcpt_cli.synthesis.rain import SHORT_SIDE, streaks

LINEAR, CUBIC = cv2.INTER_LINEAR, cv2.INTER_CUBIC
VIEW_SIDE = 96  # of the photo that is seen through drops, which makes it smaller still
BEADS = 6  # in the trail of a drop that ran down


class _Drops(NamedTuple):
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    width: NDArray[np.float64]  # half of it, as the height
    height: NDArray[np.float64]


def drops(image: Image, level: float, generator: Generator) -> Degraded:
    """Add drops on `level` percent of the glass."""
    radius, focus = np.exp(generator.uniform(np.log((5, 0.6)), np.log((18, 5)))).tolist()
    coarse = max(1.0, min(focus, radius / 3))  # than the photo: what is out of focus can be
    upscaling = max(1.0, min(image.shape[:2]) / SHORT_SIDE)
    height, width = (max(1, round(side / upscaling / coarse)) for side in image.shape[:2])
    glass = _covering(_drawn((height, width), radius / coarse, generator), level, width * height)
    water = _wavy(_water((height, width), glass), coarse, generator)

    hidden = np.clip(water, 0, 1)
    light, drawn = _refracted(image, water, generator)
    light *= in_colour(hidden)
    size = image.shape[1::-1]
    hides, shows = (
        np.asarray(cv2.resize(cv2.GaussianBlur(layer, (0, 0), focus / coarse), size), np.float32)
        for layer in (hidden, light)
    )
    lq = image * in_colour(1 - hides)
    lq += shows
    parameters = {"radius": radius * upscaling, "focus": focus * upscaling, "drops": len(glass.x)}
    return Degraded(np.clip(lq, 0, 1, out=lq), parameters | drawn)


def rain_and_drops(image: Image, level: float, generator: Generator) -> Degraded:
    """Add rain behind a wet window, from none to a sampled rate at a level of 1.

    As in RainDS (Quan et al., CVPR 2021).
    """
    rate, cover = (level * generator.uniform((20, 8), (100, 25))).tolist()
    rainy = streaks(image, rate, generator)
    wet = drops(rainy.lq, cover, generator)
    parameters = {"rate": rate, "cover": cover}
    return Degraded(wet.lq, parameters | rainy.parameters | wet.parameters)


def _drawn(size: tuple[int, int], radius: float, generator: Generator) -> _Drops:
    """Sample as many drops as the wettest glass has; some ran down, and left beads above them."""
    height, width = size
    count = 20 + round(1.2 * height * width / (np.pi * radius**2))
    x, y, ran, tall = generator.random((4, count))
    across = radius * np.exp(generator.normal(0, generator.uniform(0.2, 0.6), count))
    runs = ran < generator.uniform(0, 0.2)
    step, sway, bead_size = generator.random((3, BEADS, count))
    above = np.cumsum((0.8 + 0.6 * step) * across, axis=0)
    beads = runs * (0.15 + 0.35 * bead_size) * across
    x, y = x * width, y * height
    widths = np.vstack([across, beads])
    return _Drops(
        x=np.vstack([x, x + (sway - 0.5) * across]).T.ravel(),
        y=np.vstack([y, y - above]).T.ravel(),
        width=widths.T.ravel(),
        height=(widths * (0.9 + 0.5 * tall)).T.ravel(),
    )


def _covering(drawn: _Drops, level: float, pixels: int) -> _Drops:
    """Return the first drops, enough to cover `level` percent; the last one is smaller.

    They may overlap: of the uncovered part of the glass, each covers its fraction.
    """
    areas = np.pi * drawn.width * drawn.height / pixels
    remaining = -np.log1p(-level / 100) - (np.cumsum(areas) - areas)
    scale = np.sqrt(np.clip(remaining / np.maximum(areas, 1e-12), 0, 1))
    visible = drawn.width * scale > 0.5
    x, y, width, height = (np.asarray(values)[visible] for values in drawn)
    return _Drops(x, y, width * scale[visible], height * scale[visible])


def _water(size: tuple[int, int], glass: _Drops) -> Plane:
    """Return the thickness of the water in pixels; its slope at the rim of a round drop is 1."""
    water = np.zeros(size, np.float32)
    for x, y, width, height in zip(*glass, strict=True):
        left, top = max(int(x - width), 0), max(int(y - height), 0)
        across = (np.arange(left, min(int(x + width) + 2, size[1]), dtype=np.float32) - x) / width
        down = (np.arange(top, min(int(y + height) + 2, size[0]), dtype=np.float32) - y) / height
        thickness = width / 2 * (1 - across**2 - down[:, None] ** 2)
        part = water[top : top + len(down), left : left + len(across)]
        np.maximum(part, thickness, out=part)
    return water


def _wavy(water: Plane, coarse: float, generator: Generator) -> Plane:
    """Displace the water a little, so that no outline is an ellipse and drops that meet merge."""
    height, width = water.shape
    knots = 2, round(height * coarse / 14) + 3, round(width * coarse / 14) + 3
    waves = generator.standard_normal(knots, np.float32) * generator.uniform(0.5, 2.5) / coarse
    across, down = (cv2.resize(wave, (width, height), interpolation=CUBIC) for wave in waves)
    across += np.arange(width, dtype=np.float32)
    down += np.arange(height, dtype=np.float32)[:, None]
    moved = cv2.remap(water, across, down, LINEAR)
    return np.asarray(cv2.GaussianBlur(moved, (5, 5), 1), np.float32)


def _refracted(image: Image, water: Plane, generator: Generator) -> tuple[Image, Parameters]:
    """Return the light of drops.

    It is the scene, brighter below, where the sky is visible, darker at the rim, with a reflection.
    """
    across, down = (
        np.asarray(cv2.Sobel(water, cv2.CV_32F, x, 1 - x, scale=-1 / 8), np.float32) for x in (1, 0)
    )
    view, sky, rim, glint, x, y = generator.uniform(
        (0.25, 0, 0.2, 0, -0.5, -0.5), (0.6, 0.5, 0.8, 0.8, 0.5, 0.5)
    ).tolist()
    steep = across**2 + down**2
    near = 1 - 8 * ((across - x) ** 2 + (down - y) ** 2)
    shade = 1 + sky * down - rim * steep**2 + glint * np.maximum(near, 0)
    light = _through_water(image, across, down, view) * in_colour(shade)
    np.clip(light, 0, 1, out=light)
    return light, {"view": view, "sky": sky, "rim": rim, "glint": glint}


def _through_water(image: Image, across: Plane, down: Plane, view: float) -> Image:
    """Return the scene through water of these slopes: at its rim, `view` short sides further on."""
    height, width = across.shape
    shrunk = min(1.0, VIEW_SIDE / min(image.shape[:2]))
    small = cv2.resize(image, None, fx=shrunk, fy=shrunk, interpolation=cv2.INTER_AREA)
    bend = np.float32(view * min(small.shape[:2]))
    x = np.linspace(0, small.shape[1] - 1, width, dtype=np.float32) - across * bend
    y = np.linspace(0, small.shape[0] - 1, height, dtype=np.float32)[:, None] - down * bend
    refracted = cv2.remap(small, x, y, LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(refracted, np.float32)
