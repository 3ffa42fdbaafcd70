"""Falling snow: flakes at several distances, and the veil of those behind them.

Close flakes are large, few, fast and out of focus, far ones small, many and slow, as perspective
has it: sizes and ways shrink with the distance, numbers grow with its square. A flake that moves
or is out of focus covers more of the image, and lets more of it through. Together that gives
the small, medium and large flakes of Snow100K (Liu et al., DesnowNet, TIP 2018) and the veil of
SRRS and CSD (Chen et al., JSTASR, ECCV 2020; HDCW-Net, ICCV 2021). All is done on sRGB values, as
in those datasets.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskdcpt_cli.synthesis.contract import Degraded, Image
from maskdcpt_cli.synthesis.depth import scene_depth

Plane = NDArray[np.float32]  # (H, W)

DISTANCES = (1.0, 2.0, 4.0, 8.0)  # of the layers
RADIUS = 7.0  # in pixels, of a flake at distance 1
SHAPES = 6  # different ones in a layer
LUMPS = 3  # of a flake
DENSITY = 2.0  # of a lump that holds still in focus: it lets exp(-2) of what is behind it through
SHORT_SIDE = 720  # snow is drawn for photos up to this size, and upscaled for larger ones


class _SnowCamera(NamedTuple):
    zoom: float
    number: float  # of flakes at distance 1, at full strength, on 256 x 256 pixels
    way: float  # of these during the exposure, in pixels
    direction: float  # of the way, from straight down, in radians
    aperture: float  # how much out of focus they are, in pixels, with the focus at infinity
    focus: float  # as the inverse of its distance


def snow(image: Image, level: float, generator: Generator) -> Degraded:
    """Add snow, from none at 0 to a blizzard at 1.

    The level scales the number of flakes and the veil.
    """
    return _snow(image, level, generator, veiled=True)


def unveiled(image: Image, level: float, generator: Generator) -> Degraded:
    """Add flakes alone, from none at 0 to as many as in a blizzard at 1.

    What is between them stays as it is, as in Snow100K.
    """
    return _snow(image, level, generator, veiled=False)


def _snow(image: Image, level: float, generator: Generator, *, veiled: bool) -> Degraded:
    white, veil, opacity = generator.uniform((0.8, 0, 0.7), (1, 1.5, 1)).tolist()
    veil *= veiled
    blueness = generator.normal(0, 0.01)
    zoom, number, way = np.exp(generator.uniform(*np.log(((0.4, 3, 2), (1.5, 20, 40))))).tolist()
    camera = _SnowCamera(
        zoom=zoom,
        number=number,
        way=way,
        direction=generator.normal(0, 0.5),
        aperture=8 * generator.random() ** 2,
        focus=generator.random(),
    )
    airlight = white * _surround(image)
    through = np.exp((0.2 + 0.8 * scene_depth(image, generator)) * np.float32(-level * veil))
    bare = 1 - opacity * _covered(image.shape[:2], level, camera, generator)
    light = (1 - through) * bare * airlight + (1 - bare) * white
    lq = image * cv2.merge([through * bare] * 3)
    lq += cv2.merge([light * (1 - blueness), light, light * (1 + blueness)])
    parameters = {"white": white, "airlight": airlight, "veil": veil, "opacity": opacity}
    return Degraded(np.clip(lq, 0, 1, out=lq), parameters | camera._asdict())


def _surround(image: Image) -> float:
    """Estimate the brightness of the sky or the lamps that light the veil."""
    small = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA)
    return 0.5 + 0.5 * float(np.quantile(small.mean(2), 0.95))


def _covered(
    size: tuple[int, int], level: float, camera: _SnowCamera, generator: Generator
) -> Plane:
    """Return the fraction of each pixel that is covered by snow."""
    upscaling = max(1.0, min(size) / SHORT_SIDE)
    height, width = (round(length / upscaling) for length in size)
    thickness = sum(
        _layer((height, width), level, distance, camera, generator) for distance in DISTANCES
    )
    covered = -np.expm1(-thickness)  # where several overlap, each covers a part of what is left
    return np.asarray(cv2.resize(covered, size[::-1]), np.float32)


def _layer(
    size: tuple[int, int], level: float, distance: float, camera: _SnowCamera, generator: Generator
) -> Plane:
    """Add up flakes on a frame with a margin, for those that reach into the image."""
    shapes = _shapes(distance, camera, generator)
    side = shapes.shape[1]
    rows, columns = size[0] + 2 * side, size[1] + 2 * side
    density = camera.number * (distance / camera.zoom) ** 2 / 256**2
    most = density * (rows - side) * (columns - side)
    down, across, which, weight = generator.random((4, round(most)), dtype=np.float32)
    visible = slice(round(most * level))
    corner = (down[visible] * (rows - side)).astype(np.int64) * columns
    corner += (across[visible] * (columns - side)).astype(np.int64)
    offsets = (np.arange(side)[:, None] * columns + np.arange(side)).ravel()
    values = shapes.reshape(SHAPES, -1)[(which[visible] * SHAPES).astype(np.int64)]
    values *= 0.4 + 1.6 * weight[visible, None]
    frame = np.bincount((corner[:, None] + offsets).ravel(), values.ravel(), rows * columns)
    inside = slice(side, side + size[0]), slice(side, side + size[1])
    return frame.reshape(rows, columns)[inside].astype(np.float32)


def _shapes(distance: float, camera: _SnowCamera, generator: Generator) -> NDArray[np.float32]:
    """Sample the density of flakes, (SHAPES, side, side).

    A flake is lumps that stick together, each a disc that moves or is out of focus, and is the
    fainter the more it covers.
    """
    scale = camera.zoom / distance
    blur = camera.aperture * camera.zoom * abs(1 / distance - camera.focus)
    sizes = RADIUS * scale * np.exp(generator.normal(0, 0.35, (SHAPES, 1)).clip(-0.7, 0.5))
    ways = camera.way * scale * generator.uniform(0.6, 1.4, (SHAPES, 1)) + 1
    turns = camera.direction + generator.normal(0, 0.25, (SHAPES, 1))
    radii = sizes * generator.uniform(0.3, 0.6, (SHAPES, LUMPS))
    offsets_of_lumps = sizes * generator.uniform(-0.6, 0.6, (2, SHAPES, LUMPS))
    offsets_of_lumps += generator.uniform(-0.5, 0.5, (2, SHAPES, 1))  # between the pixels

    reach = math.ceil(1.2 * sizes.max() + blur + ways.max() / 2)
    grid = np.arange(-reach, reach + 1, dtype=np.float32)
    y = grid[:, None] - _per_lump(offsets_of_lumps[0])
    x = grid - _per_lump(offsets_of_lumps[1])
    sine, cosine = _per_lump(np.sin(turns)), _per_lump(np.cos(turns))
    across = x * cosine - y * sine
    half_chord = np.sqrt(np.maximum(_per_lump(np.square(radii + blur)) - across * across, 0))
    covered = half_chord - np.abs(x * sine + y * cosine)
    covered += _per_lump(ways / 2)
    np.clip(covered, 0, np.minimum(2 * half_chord, _per_lump(ways)), out=covered)
    covered *= _per_lump(DENSITY * np.square(radii / (radii + blur)) / ways)
    return np.asarray(covered.sum(1), np.float32)


def _per_lump(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return values.astype(np.float32)[..., None, None]
