"""Motion blur of a shaking, turning or approaching camera, and of moving objects."""

import cmath
import math

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskdcpt_cli.synthesis.contract import Degraded, Image, Parameters
from maskdcpt_cli.synthesis.light import to_srgb
from maskdcpt_cli.synthesis.optics import Plane, in_colour, scene_light, spread

POINTS = 160  # of a path, so that even a long one has no gaps
STEP = 1.5  # in pixels, between the frames that are added up


def shake(image: Image, level: float, generator: Generator) -> Degraded:
    """Blur as a hand-held camera does: along one random curve of `level` pixels.

    The curve keeps its heading by inertia, wanders from it, and is sometimes thrown off it
    (Boracchi & Foi, TIP 2012; Kupyn et al., DeblurGAN, CVPR 2018).
    """
    light, brightness = scene_light(image, generator)
    wander, jerk = 0.12 * generator.random() ** 2, generator.uniform(0, 0.04)
    path = unit_path(generator, wander=wander, jerk=jerk)
    lq = to_srgb(spread(light, path_kernel(level * path)))
    return Degraded(lq, {"brightness": brightness, "wander": wander, "jerk": jerk})


def shake_sharp(image: Image, level: float, generator: Generator) -> Degraded:
    """Blur along `level` pixels of straight lines, whose ends and corners are sharp.

    A short exposure moves evenly along one line, the kernel of most papers (fspecial in MATLAB); a
    longer one turns at up to three corners, with another speed after each, and may rest there, as
    recorded trajectories do (Köhler et al., ECCV 2012). With equal probability light is added up in
    linear light, as on a sensor, or in sRGB values, as in those papers.
    """
    corners = int(generator.integers(4)) * int(generator.integers(2))
    kernel = path_kernel(level * polyline(generator, corners=corners))
    light, brightness = scene_light(image, generator)
    linear = int(generator.integers(2))
    lq = to_srgb(spread(light, kernel)) if linear else spread(image, kernel)
    parameters: Parameters = {"brightness": brightness, "corners": corners, "linear": linear}
    return Degraded(np.clip(lq, 0, 1, out=lq), parameters)


def scene(image: Image, level: float, generator: Generator) -> Degraded:
    """Blur as a camera that pans, rolls and approaches: the fastest corner moves `level` pixels.

    In the complex plane a point moves at `pan + turn * (point - centre)`. To move by two times in
    turn is to move by their sum, so images that have been added up can be moved and added up
    again: each round makes three times as many, evenly spaced on the spirals of all points.
    """
    light, brightness = scene_light(image, generator)
    height, width = image.shape[:2]
    panning, x, y, heading, twist = generator.random(5).tolist()
    centre = complex(width * (0.2 + 0.6 * x), height * (0.2 + 0.6 * y))
    pan = cmath.rect(panning, math.tau * heading)
    turn = cmath.rect(1 / math.hypot(width, height), math.tau * twist)
    corners = [complex(x, y) for x in (0, width) for y in (0, height)]
    fastest = max(abs(pan + turn * (corner - centre)) for corner in corners)
    pan, turn = pan / fastest, turn / fastest  # a pixel, at a time of 1

    rounds = max(1, math.ceil(math.log(max(level, 1) / STEP, 3)))
    for time in level / 3.0 ** np.arange(rounds, 0, -1):
        moved = [_moved(light, centre, pan, turn, way * time) for way in (-1, 1)]
        light += moved[0]
        light += moved[1]
        light /= 3
    parameters = {"brightness": brightness, "pan": abs(pan) * level}
    parameters |= {"zoom": turn.real * level, "roll": turn.imag * level}
    return Degraded(to_srgb(light), {name: float(value) for name, value in parameters.items()})


def _moved(light: Image, centre: complex, pan: complex, turn: complex, time: float) -> Image:
    gain = cmath.exp(turn * time)
    offset = centre - gain * centre + pan * (gain - 1) / turn
    matrix = np.array([[gain.real, -gain.imag, offset.real], [gain.imag, gain.real, offset.imag]])
    size = light.shape[1], light.shape[0]
    moved = cv2.warpAffine(light, matrix, size, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.float32)


def moving(image: Image, level: float, generator: Generator) -> Degraded:
    """Blur one or two objects that move by `level` pixels in front of an almost static scene.

    Light that moves in is added, and light that it covers is left out, by how long it does.
    """
    light, brightness = scene_light(image, generator)
    still, wander = generator.uniform((0.05, 0), (0.2, 0.03)).tolist()
    path = unit_path(generator, wander=wander, jerk=0)
    light = spread(light, path_kernel(level * still * path))
    things = 1 + int(generator.random() < 0.3)
    for _ in range(things):
        figure = _figure(image.shape[:2], generator)
        kernel = path_kernel(level * unit_path(generator, wander=wander, jerk=0))
        moved = spread(light * in_colour(figure), kernel)
        light *= in_colour(1 - spread(figure, kernel))
        light += moved
    parameters = {"brightness": brightness, "still": still, "wander": wander, "things": things}
    return Degraded(to_srgb(light), parameters)


def _figure(size: tuple[int, int], generator: Generator) -> Plane:
    """Sample a mask, 1 inside and 0 outside: an ellipse with a wavy, soft outline."""
    x, y, wide, high, lean = generator.uniform(
        (0.2, 0.2, 0.2, 0.25, -0.5), (0.8, 0.8, 0.4, 0.5, 0.5)
    )
    across, down = np.meshgrid(np.linspace(-x, 1 - x, 32), np.linspace(-y, 1 - y, 32))
    turned = (across + 1j * down) * np.exp(1j * lean)
    waves = cv2.resize(generator.normal(0, 0.3, (5, 5)), (32, 32), interpolation=cv2.INTER_CUBIC)
    inside = 1 - np.hypot(turned.real / wide, turned.imag / high) + waves
    small = np.clip(3 * inside + 0.5, 0, 1).astype(np.float32)
    return np.asarray(cv2.resize(small, size[::-1]), np.float32)


def unit_path(generator: Generator, *, wander: float, jerk: float) -> NDArray[np.complex128]:
    """Sample a random curve of length 1 around its own middle.

    Args:
        generator: source of the curve.
        wander: standard deviation of the change of heading at a point, in radians.
        jerk: probability that the heading changes to any other at a point.
    """
    changes = generator.normal(0, wander, POINTS)
    turns = generator.uniform(-np.pi, np.pi, POINTS) * (generator.random(POINTS) < jerk)
    heading = generator.uniform(0, 2 * np.pi) + np.cumsum(changes + turns)
    haste = np.interp(np.linspace(0, 5, POINTS), np.arange(6), generator.normal(0, 0.7, 6))
    steps = np.exp(haste + 1j * heading)
    path = np.cumsum(steps) / np.abs(steps).sum()
    return np.asarray(path - path.mean())


def polyline(generator: Generator, *, corners: int) -> NDArray[np.complex128]:
    """Sample a path of straight lines of length 1 around its own middle, evenly spaced in time.

    The speed is another after each corner, and each corner holds the path for up to a fifth of it.
    """
    heading = generator.uniform(0, 2 * np.pi) + np.cumsum(generator.normal(0, 1.2, corners + 1))
    lengths, durations = generator.uniform(0.2, 1, (2, corners + 1))
    ends = np.cumsum(np.append(0, lengths / lengths.sum() * np.exp(1j * heading)))
    pauses = generator.uniform(0, 0.2, corners) * (generator.random(corners) < 0.4)
    spans = np.insert(durations / durations.sum(), np.arange(1, corners + 1), pauses)
    times = np.cumsum(np.append(0, spans))
    at = np.append(np.repeat(ends[:-1], 2)[1:], ends[-1])  # at a corner before and after its pause
    now = np.linspace(0, times[-1], POINTS)
    path = np.interp(now, times, at.real) + 1j * np.interp(now, times, at.imag)
    return np.asarray(path - path.mean())


def path_kernel(path: NDArray[np.complex128]) -> Plane:
    """Return the kernel of a path in pixels, x + iy: each point is split between four pixels.

    It sums to 1, and its centroid is that of the path, whatever the path's length.
    """
    reach = int(np.ceil(np.abs(np.stack([path.real, path.imag])).max())) + 1
    side = 2 * reach + 1
    left, top = np.floor(path.real), np.floor(path.imag)
    x, y = path.real - left, path.imag - top
    first = ((top + reach) * side + left + reach).astype(np.int64)
    index = np.concatenate([first, first + 1, first + side, first + side + 1])
    weights = np.concatenate([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y]) / len(path)
    kernel = np.bincount(index, weights, side * side)
    return kernel.reshape(side, side).astype(np.float32)
