"""Defocus: each point of light becomes an image of the aperture, larger the farther from focus."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator

from maskdcpt_cli.synthesis.contract import Degraded, Image
from maskdcpt_cli.synthesis.depth import scene_depth
from maskdcpt_cli.synthesis.light import to_linear, to_srgb
from maskdcpt_cli.synthesis.optics import Plane, in_colour, scene_light, spread

FRACTIONS = (0.25, 0.5, 1.0)  # of the largest radius: how strongly the blurred layers are blurred


class Aperture(NamedTuple):
    """Shape and rim of an aperture."""

    blades: int  # of its diaphragm
    roundness: float  # of these: 0 for straight ones, 1 for a disc
    angle: float  # at which the corners stand, in radians
    rim: float  # how much brighter the rim is than the middle, by the aberration of the lens


def flat(image: Image, level: float, generator: Generator) -> Degraded:
    """Blur the whole image by a disc of radius `level` pixels."""
    light, brightness = scene_light(image, generator)
    aperture = _aperture(generator)
    lq = to_srgb(spread(light, aperture_kernel(level, aperture)))
    return Degraded(lq, {"brightness": brightness, **aperture._asdict()})


def depth(image: Image, level: float, generator: Generator) -> Degraded:
    """Blur by up to `level` pixels before and behind a sampled distance, which stays sharp.

    A few blurred layers are blended by the circle of confusion of each pixel, as for the synthetic
    part of Lee et al. (Deep Defocus Map Estimation, CVPR 2019); what is in front of the focus also
    spreads over its surroundings.
    """
    light, brightness = scene_light(image, generator)
    aperture = _aperture(generator)
    focus = generator.random()
    confusion = _confusion(scene_depth(image, generator), level, focus)
    blended, sharper = light, 0.0
    for fraction in FRACTIONS:
        blurred = spread(light, aperture_kernel(level * fraction, aperture))
        blurred -= blended
        blurred *= in_colour(np.clip((confusion - sharper) / (fraction - sharper), 0, 1))
        blended = blended + blurred
        sharper = fraction
    parameters = {"brightness": brightness, "focus": focus, **aperture._asdict()}
    return Degraded(to_srgb(blended), parameters)


def bokeh(image: Image, level: float, generator: Generator) -> Degraded:
    """Blur the whole image by `level` pixels, so that what is bright becomes discs with an edge.

    A lamp or glint has many times the light that its pixel can show. So light is averaged with
    weights, up to 30 times as high for white as for dark pixels. The aperture is open, and so
    nearly round, and often brighter at its rim.
    """
    threshold, gain, roundness, angle, rim = generator.uniform(
        (0.5, np.log(3), 0.7, 0, 0), (0.9, np.log(30), 1, 1, 1)
    ).tolist()
    gain = float(np.exp(gain))
    aperture = Aperture(int(generator.integers(7, 12)), roundness, angle, rim)
    kernel = aperture_kernel(level, aperture)
    bright = np.maximum.reduce(cv2.split(image))
    weights = 1 + np.float32(gain - 1) * np.square(np.maximum(bright - threshold, 0)) / (
        np.float32(1 - threshold) ** 2
    )
    lq = spread(to_linear(image) * in_colour(weights), kernel)
    lq /= in_colour(np.maximum(spread(weights, kernel), 1))
    parameters = {"threshold": threshold, "gain": gain, **aperture._asdict()}
    return Degraded(to_srgb(lq), parameters)


def disc(image: Image, level: float, generator: Generator) -> Degraded:
    """Blur sRGB values by an even disc of radius `level` pixels, as most papers do (fspecial)."""
    lq = spread(image, aperture_kernel(level, Aperture(blades=5, roundness=1, angle=0, rim=0)))
    return Degraded(np.clip(lq, 0, 1, out=lq), {})


def _confusion(distance: Plane, level: float, focus: float) -> Plane:
    """Return the blur radius of each pixel, relative to the largest possible one."""
    behind = (distance - np.float32(focus)) / np.float32(max(focus, 1 - focus))
    before = np.maximum(-behind, 0)
    side = 2 * round(level) + 1
    return np.asarray(np.maximum(np.abs(behind), cv2.blur(before, (side, side))), np.float32)


def _aperture(generator: Generator) -> Aperture:
    roundness, angle, rim = generator.uniform((0.3, 0, -0.4), (1, 1, 0.6)).tolist()
    return Aperture(int(generator.integers(5, 10)), roundness, angle, rim)


def aperture_kernel(radius: float, aperture: Aperture) -> Plane:
    """Return the blur kernel of a point out of focus by `radius` pixels: anti-aliased, sum 1."""
    reach = int(np.ceil(radius)) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(x, y)
    sector = 2 * np.pi / aperture.blades
    side = np.cos(sector / 2) / np.cos((np.arctan2(y, x) + aperture.angle) % sector - sector / 2)
    edge = radius * (aperture.roundness + (1 - aperture.roundness) * side)
    weight = np.clip(edge - distance + 0.5, 0, 1)
    weight *= 1 + aperture.rim * (distance / max(radius, 1)) ** 2
    return np.asarray(weight / weight.sum(), np.float32)
