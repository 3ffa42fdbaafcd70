"""Rain: streaks at several distances, and the veil of the rain behind them.

Streaks follow the geometry of Garg & Nayar (Vision and Rain, IJCV 2007): a drop that falls during
the exposure becomes a line as wide as the drop and as long as its way; it shows the wide surround
it refracts, so it is brighter than most of what is behind it, and lets part of that through. How
many drops there are and how large they are follows from the rate of rain by Marshall & Palmer
(1948); their speed by Atlas & Ulbrich (1977), as the diameter to the power of 0.67. The veil
attenuates with 0.312 R^0.67 per km (Halder et al., ICCV 2019).

Approximated: drops in one layer are equally far and of similar size, streaks have no texture along
their length, and how opaque they are is drawn, in the wide range of photos and datasets, rather
than worked out from the exposure. All is done on sRGB values, as in those datasets.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskdcpt_cli.synthesis.contract import Degraded, Image, Parameters
from maskdcpt_cli.synthesis.depth import scene_depth
from maskdcpt_cli.synthesis.optics import Plane, in_colour

Rows = NDArray[np.float64]  # (N,), a value for each streak

DISTANCES = (1.0, 2.0, 4.0, 7.0)  # of the layers, in metres or so: drops get smaller, and many
CROSSING = (1.0, 1.4, 2.0, 2.8, 4.0)  # likewise, of layers that take turns in their direction
FAR = (3.0, 5.0, 8.0)  # likewise, of a downpour
WIDTH = 2.0  # in pixels, of a streak at a metre in rain of 100 mm/h
LENGTH = 85.0  # likewise, at an exposure of 1/60 s
NUMBER = 20.0  # likewise, of streaks on 256 x 256 pixels
MOST = 200.0  # mm/h: as many streaks are drawn at any level, and the first of them shown
WARP = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
SHORT_SIDE = 720  # rain is drawn for photos up to this size, and upscaled for larger ones


class _RainCamera(NamedTuple):
    zoom: float
    exposure: float  # of 1/60 s
    defocus: float  # in pixels, of what is at a metre
    slant: float  # of the streaks, horizontal by vertical
    fan: float  # how much they run together towards the bottom, when one looks up or down


class _RainLight(NamedTuple):
    airlight: float  # of the veil
    glint: float  # of streaks
    blue: float  # how much bluer both are than grey

    def parameters(self, **others: float) -> Parameters:
        """Return the parameters of a sample in the order of a manifest."""
        return {"airlight": self.airlight, "glint": self.glint, **others, "blue": self.blue}


class _Layer(NamedTuple):
    distance: float  # in metres or so
    camera: _RainCamera


def streaks(image: Image, level: float, generator: Generator) -> Degraded:
    """Add rain of `level` mm per hour: 2 is light, 10 moderate, 50 heavy, 100 a cloudburst."""
    return _streaks(image, level, generator, veiled=True)


def unveiled(image: Image, level: float, generator: Generator) -> Degraded:
    """Add the streaks of `streaks` alone, at `level` mm per hour.

    What is between them stays as it is, as in Rain100L (Yang et al., CVPR 2017).
    """
    return _streaks(image, level, generator, veiled=False)


def _streaks(image: Image, level: float, generator: Generator, *, veiled: bool) -> Degraded:
    darkness, shine, opacity = generator.uniform((0.4, 0.5, 0.5), (0.95, 1, 1)).tolist()
    light = _light(image, darkness, shine, generator)
    reach, zoom, exposure = _log_uniform((20, 0.5, 0.4), (400, 1.5, 3), generator)
    reach *= veiled
    camera = _RainCamera(
        zoom=zoom,
        exposure=exposure,
        defocus=3 * generator.random() ** 3,
        slant=_slant(generator),
        fan=generator.uniform(-0.2, 0.2),
    )
    layers = [_Layer(distance, camera) for distance in DISTANCES]
    covered = _covered(image.shape[:2], level, layers, generator)
    covered *= opacity
    through = _transmission(scene_depth(image, generator), level, reach)
    parameters = light.parameters(opacity=opacity, reach=reach)
    return Degraded(_behind(image, covered, through, light), parameters | camera._asdict())


def crossing(image: Image, level: float, generator: Generator) -> Degraded:
    """Add opaque streaks in two or three directions, at `level` mm per hour.

    In gusts, drops at different distances fall in different directions; so do the layers of streaks
    of Rain100H (Yang et al., Deep Joint Rain Detection and Removal, CVPR 2017).
    """
    darkness, shine, gain = generator.uniform((0.6, 0.6, 2), (1, 1, 5)).tolist()
    light = _light(image, darkness, shine, generator)
    reach, zoom, exposure = _log_uniform((10, 0.6, 0.6), (200, 1.3, 2.5), generator)
    angles = _angles(generator)
    cameras = [
        _RainCamera(
            zoom=zoom,
            exposure=exposure,
            defocus=1.5 * generator.random() ** 3,
            slant=math.tan(math.radians(angle)),
            fan=0,
        )
        for angle in angles
    ]
    layers = [_Layer(distance, cameras[i % len(cameras)]) for i, distance in enumerate(CROSSING)]
    covered = _covered(image.shape[:2], level, layers, generator, gain=gain)
    through = _transmission(scene_depth(image, generator), level, reach)
    parameters = light.parameters(gain=gain, reach=reach)
    parameters |= {"zoom": zoom, "exposure": exposure}
    parameters |= {f"angle {i}": angle for i, angle in enumerate(angles)}
    return Degraded(_behind(image, covered, through, light), parameters)


def _angles(generator: Generator) -> list[float]:
    """Sample two or three directions of rain, in degrees from the vertical, 15 apart at least."""
    first = min(max(generator.normal(0, 12), -25), 25)
    further = int(generator.integers(1, 3))
    apart = generator.uniform(15, 35, 2) * (1, -1)
    return [first, *(first + apart[:further]).tolist()]


def downpour(image: Image, level: float, generator: Generator) -> Degraded:
    """Add dense, fine rain, behind which distant things disappear, at `level` mm per hour.

    As in Outdoor-Rain (Li et al., Heavy Rain Image Restoration, CVPR 2019): the veil is strong,
    up to an optical depth of 4 at 100 mm per hour, and depends on the distance. A photo of
    far things alone is under it as a whole.
    """
    darkness, shine, gain = generator.uniform((0.4, 0.2, 0.3), (1, 0.7, 2)).tolist()
    light = _light(image, darkness, shine, generator)
    reach, zoom, exposure = _log_uniform((80, 0.4, 0.6), (600, 1, 3), generator)
    camera = _RainCamera(
        zoom=zoom,
        exposure=exposure,
        defocus=0,
        slant=_slant(generator),
        fan=generator.uniform(-0.2, 0.2),
    )
    layers = [_Layer(distance, camera) for distance in FAR]
    covered = _covered(image.shape[:2], level, layers, generator, gain=gain)
    near = 0.1 + 0.8 * generator.random() ** 1.5
    through = _transmission(scene_depth(image, generator), level, reach, near=near)
    parameters = light.parameters(gain=gain, reach=reach, near=near)
    return Degraded(_behind(image, covered, through, light), parameters | camera._asdict())


def _light(image: Image, darkness: float, shine: float, generator: Generator) -> _RainLight:
    """Return the light of a veil `darkness` times as bright as a photo, and of shining streaks."""
    airlight = darkness * _surround(image)
    glint = airlight + shine * (1 - airlight)
    return _RainLight(airlight, glint, blue=generator.normal(0, 0.015))


def _log_uniform(low: Sequence[float], high: Sequence[float], generator: Generator) -> list[float]:
    """Sample numbers whose logarithms are uniform."""
    return list(np.exp(generator.uniform(np.log(low), np.log(high))).tolist())


def _slant(generator: Generator) -> float:
    return math.tan(math.radians(min(max(generator.normal(0, 18), -45), 45)))


def _behind(image: Image, covered: Plane, through: Plane, light: _RainLight) -> Image:
    """Return the image behind the veil and the streaks."""
    bare = 1 - covered
    lq = image * in_colour(through * bare)
    added = (1 - through) * bare * light.airlight + covered * light.glint
    lq += cv2.merge((added * (1 - light.blue), added, added * (1 + light.blue)))
    return np.clip(lq, 0, 1, out=lq)


def _surround(image: Image) -> float:
    """Estimate the brightness of the sky or the lamps that light the drops."""
    small = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA)
    return 0.4 + 0.6 * float(np.quantile(small.mean(2), 0.95))


def _transmission(depth: Plane, level: float, reach: float, *, near: float = 0.2) -> Plane:
    """Return the transmission of the air, with the farthest point at `reach` metres.

    The nearest one is at `near` of that.
    """
    extinction = 0.312 * level**0.67 / 1000  # per metre
    thickness = (near + (1 - near) * depth) * np.float32(extinction * reach)
    return np.asarray(np.exp(-thickness), np.float32)


def _covered(
    size: tuple[int, int],
    level: float,
    layers: Iterable[_Layer],
    generator: Generator,
    *,
    gain: float = 1,
) -> Plane:
    """Return the fraction of each pixel that is covered by streaks."""
    upscaling = max(1.0, min(size) / SHORT_SIDE)
    height, width = (round(length / upscaling) for length in size)
    lines = np.zeros((height, width), np.float32)
    for distance, camera in layers:
        lines += _layer((height, width), level, distance, camera, generator)
    covered = 1 - np.exp(-gain * lines)  # where several cross, each covers a part of what is left
    return np.asarray(cv2.resize(covered, size[::-1]), np.float32)


def _layer(
    size: tuple[int, int], level: float, distance: float, camera: _RainCamera, generator: Generator
) -> Plane:
    """Draw streaks along the rows of a frame, then turn and shear it into position."""
    height, width = size
    scale = camera.zoom / distance
    slant = camera.slant + generator.normal(0, 0.03)
    along = round(1.25 * height)
    across = round(1.25 * (width + height * abs(slant)))
    longest = 1.5 * _length(MOST, scale, camera)

    density = NUMBER / scale**2 * (along + longest) * across / 256**2
    start, side, length, weight = generator.random((4, round(density * _number(MOST))))
    gusts = generator.random((5, 5)) ** generator.uniform(0, 1)
    weight *= gusts[(start * 5).astype(int), (side * 5).astype(int)] * generator.uniform(0.3, 6)

    visible = slice(round(density * _number(level)))
    thickness = WIDTH * scale * _diameter(level) / _diameter(100)
    frame = _lines(
        (across + 2, along),
        start[visible] * (along + longest) - longest,
        side[visible] * across,
        (0.5 + length[visible]) * _length(level, scale, camera),
        weight[visible] * thickness,
    )
    spread = math.hypot(max(thickness / 2, 0.45), camera.defocus * scale)
    fading = 1 + min(_length(level, scale, camera) / 25, 3)
    kernel = 2 * round(2 * fading) + 1, 2 * round(2.5 * spread) + 1
    frame = np.asarray(cv2.GaussianBlur(frame, kernel, fading, None, spread), np.float32)
    matrix = _placement(size, (across, along), slant, camera.fan)
    return np.asarray(cv2.warpPerspective(frame, matrix, (width, height), flags=WARP), np.float32)


def _length(level: float, scale: float, camera: _RainCamera) -> float:
    """Return the length of streaks in pixels: the way that drops fall during the exposure."""
    speed = math.pow(_diameter(level) / _diameter(100), 0.67)
    return LENGTH * scale * camera.exposure * speed


def _diameter(level: float) -> float:
    """Return the mean diameter of drops in mm: exp(-diameter / mean), Marshall & Palmer."""
    return math.pow(max(level, 1e-9), 0.21) / 4.1


def _number(level: float) -> float:
    """Return the number of drops above 0.6 mm, relative to that at 100 mm/h."""
    mean, usual = _diameter(level), _diameter(100)
    return mean / usual * math.exp(0.6 / usual - 0.6 / mean)


def _lines(size: tuple[int, int], starts: Rows, sides: Rows, lengths: Rows, weights: Rows) -> Plane:
    """Draw lines along the rows, fainter towards their ends, their weight split between two rows.

    Summing up marks at the corners of boxes draws all of them at once, whatever their length.
    """
    rows, columns = size
    upper = sides.astype(np.int64)
    lower = sides - upper
    row = np.stack([upper, upper + 1, upper + 2])[:, None]
    across = np.stack([1 - lower, 2 * lower - 1, -lower])[:, None] * weights / 2
    fractions = np.array([0, 0.25, 0.75, 1])[:, None]
    column = np.clip(starts + lengths * fractions, 0, columns - 1).astype(np.int64)
    along = np.array([1, 1, -1, -1])[:, None]
    marks = np.bincount((row * columns + column).ravel(), (across * along).ravel(), rows * columns)
    field = marks.reshape(size).astype(np.float32)
    return np.asarray(cv2.integral(field, sdepth=cv2.CV_32F)[1:, 1:], np.float32)


def _placement(
    size: tuple[int, int], frame: tuple[int, int], slant: float, fan: float
) -> NDArray[np.float64]:
    """Return the map from (x, y) in the image to (along, across) in the frame."""
    height, width = size
    across, along = frame
    centred = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    turned = np.array([[0, 1, 0], [1, -slant, 0], [0, fan / height, 1]])
    middle = np.array([[1, 0, along / 2], [0, 1, across / 2], [0, 0, 1]])
    return np.asarray(middle @ turned @ centred)
