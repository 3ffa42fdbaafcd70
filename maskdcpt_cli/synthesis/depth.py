"""Random depth maps that fit an image.

The scene is a box seen from within, some of whose sides are missing: floor, ceiling and walls make
a room, floor and walls a street, the floor alone a landscape. Within it are objects, regions of
similar colour, each at its own distance; regions that look like sky are farthest. The map is
sampled on a thumbnail, and follows the edges of the image by the fast guided filter (He & Sun,
2015).
"""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskdcpt_cli.synthesis.contract import Image

Plane = NDArray[np.float32]  # (H, W)

THUMBNAIL = 64  # its longer side
OBJECTS = 10
SIDES = (0.9, 0.25, 0.4, 0.4)  # how often there is a floor, a ceiling, a left and a right wall
COLOUR = 1.5  # how much a difference in colour counts against one in place, for objects
EDGE = 0.01  # variance of brightness from which the filter takes something for an edge


def scene_depth(image: Image, generator: Generator) -> Plane:
    """Sample distances for a scene: (H, W) float32, from 0, nearest, to 1, farthest."""
    small = _thumbnail(image)
    rows, columns = _grid(small)
    nearness = _with_objects(_box(rows, columns, generator), rows, columns, small, generator)
    distance: Plane = np.reciprocal(nearness)
    distance -= distance.min()
    distance /= np.maximum(distance.max(), 1e-6)
    distance += (1 - distance) * _sky(small)
    return _along_edges(distance, small, image)


def landscape_depth(image: Image, generator: Generator) -> Plane:
    """Sample distances for a plain up to its horizon, 8 to 60 times as far as its nearest point.

    The distance is the inverse of the height below the horizon, so that it changes little in most
    of the foreground, and much in a narrow band. Returns (H, W) float32, from near 0 to 1.
    """
    small = _thumbnail(image)
    rows, columns = _grid(small)
    horizon, tilt = generator.uniform((0, -0.05), (0.6, 0.05)).astype(np.float32)
    far = np.exp(generator.uniform(np.log(8), np.log(60)))
    down = (rows + tilt * columns) / rows.max() - horizon
    nearness = np.maximum(down / (1 - horizon), np.float32(1 / far))
    nearness = _with_objects(nearness, rows, columns, small, generator)
    distance = np.asarray(nearness.min() / nearness, np.float32)
    distance += (1 - distance) * _sky(small)
    return _along_edges(distance, small, image)


def _thumbnail(image: Image) -> Image:
    height, width = image.shape[:2]
    scale = min(1, THUMBNAIL / max(height, width))
    size = max(2, round(width * scale)), max(2, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)


def _grid(small: Image) -> tuple[Plane, Plane]:
    """Return rows and columns, relative to the longer side."""
    height, width = small.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32) / max(height, width)
    return rows, columns


def _box(rows: Plane, columns: Plane, generator: Generator) -> Plane:
    """Sample the inverse distance: linear in the image for a plane, so the nearest is a maximum."""
    horizon, middle = generator.uniform((-0.1, 0), (1, 1))  # where parallels meet; crops lack it
    tilt = np.float32(np.radians(4) * generator.standard_normal())
    far = np.exp(generator.uniform(np.log(3), np.log(15)))
    x, y = columns - np.float32(middle), rows - np.float32(horizon)
    right, down = x + y * tilt, y - x * tilt
    present = generator.random(4) < SIDES
    away = generator.uniform(0.3, 1.3, 4).astype(np.float32)
    nearness = np.full(rows.shape, 1 / far, np.float32)
    for side, there, at in zip((down, -down, -right, right), present, away, strict=True):
        if there:
            np.maximum(nearness, side / at, out=nearness)
    return nearness


def _with_objects(
    nearness: Plane, rows: Plane, columns: Plane, small: Image, generator: Generator
) -> Plane:
    """Give each region of similar colour and position a distance of its own."""
    chosen = (generator.random(OBJECTS) * nearness.size).astype(int)
    apart = np.zeros((OBJECTS, *nearness.shape), np.float32)
    for feature in (rows, columns, *cv2.split(np.float32(COLOUR) * small)):
        apart += np.square(feature - feature.flat[chosen][:, None, None])
    belongs = apart.argmin(0)
    own = nearness.flat[chosen] * np.exp(generator.normal(0, 0.45, OBJECTS))
    upright = generator.random(OBJECTS)[belongs]
    mixed = nearness + upright * (own[belongs] - nearness)
    return np.asarray(np.maximum(mixed, nearness.min()), np.float32)


def _sky(small: Image) -> Plane:
    """Estimate how much each pixel looks like sky: bright, white or blue, smooth, and high up."""
    red, _, blue = cv2.split(small)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    rough = cv2.blur(np.abs(cv2.Laplacian(grey, cv2.CV_32F)), (5, 5))
    height = np.linspace(1, 0, len(small), dtype=np.float32)[:, None]
    bright = np.clip(5 * (blue - 0.5), 0, 1) * np.clip(1 + 6 * (blue - red), 0, 1)
    return np.asarray(bright * np.exp(-20 * rough) * np.clip(3 * height - 0.5, 0, 1), np.float32)


def _along_edges(distance: Plane, small: Image, image: Image) -> Plane:
    """Fit distances to a colour channel around each pixel, and apply the fit to the whole image."""
    deviation = small - small.mean((0, 1))
    explained = np.abs((deviation * (distance - distance.mean())[..., None]).mean((0, 1)))
    channel = int((explained / (deviation.std((0, 1)) + 1e-3)).argmax())
    guide = np.ascontiguousarray(small[..., channel])
    side = (7, 7)
    mean, target = cv2.blur(guide, side), cv2.blur(distance, side)
    variance = cv2.blur(guide * guide, side) - mean * mean
    slope = (cv2.blur(guide * distance, side) - mean * target) / (variance + EDGE)
    offset = target - slope * mean
    size = image.shape[1::-1]
    depth = image[..., channel] * cv2.resize(cv2.blur(slope, side), size)
    depth += cv2.resize(cv2.blur(offset, side), size)
    return np.asarray(np.clip(depth, 0, 1, out=depth), np.float32)
