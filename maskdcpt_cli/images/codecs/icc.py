"""LittleCMS, as Pillow offers it, converts colours at 8 bits alone; here 16-bit images keep theirs.

ICC profiles of a matrix and curves, or of one grey curve (ICC.1:2022, sections 8 to 10).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.images.arrays import Float

SAMPLES = 4096  # of a curve that is given by its formula
STEPS = 1 << 17  # of a table: the nearest entry is within a quarter of a 16-bit step

GRID = np.linspace(0, 1, STEPS)

# Columns: red, green, blue of sRGB in the profile connection space, adapted to D50.
SRGB_TO_XYZ = np.array(
    [
        [0.4360747, 0.3850649, 0.1430804],
        [0.2225045, 0.7168786, 0.0606169],
        [0.0139322, 0.0971045, 0.7141733],
    ]
)
LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709


@dataclass(frozen=True)
class Table:
    """A function of [0, 1] as a lookup table: a power per value takes longer than a network."""

    values: NDArray[np.float32]  # at equal steps

    def __call__(self, x: Float) -> Float:
        return self.values[(x.clip(0, 1) * np.float32(len(self.values) - 1) + 0.5).astype(np.int32)]


# sRGB and light (IEC 61966-2-1).
LIGHT_FROM_SRGB = Table(
    np.where(GRID <= 0.04045, GRID / 12.92, ((GRID + 0.055) / 1.055) ** 2.4).astype(np.float32)
)
SRGB_FROM_ROOT = Table(
    np.where(GRID**2 <= 0.0031308, GRID**2 * 12.92, 1.055 * GRID ** (2 / 2.4) - 0.055).astype(
        np.float32
    )
)


@dataclass(frozen=True)
class Curve:
    """A rising curve from native values to light."""

    samples: NDArray[np.float64]  # at equal steps

    @cached_property
    def to_light(self) -> Table:
        return Table(np.interp(GRID, self._grid, self.samples).astype(np.float32))

    @cached_property
    def from_root(self) -> Table:
        """The inverse, from the square root of light, over which the curve is nearly straight."""
        return Table(np.interp(GRID**2, self.samples, self._grid).astype(np.float32))

    @property
    def _grid(self) -> NDArray[np.float64]:
        return np.linspace(0, 1, len(self.samples))


@dataclass(frozen=True)
class MatrixProfile:
    """An RGB profile: a curve per channel, then a matrix."""

    curves: tuple[Curve, Curve, Curve]
    to_linear_srgb: NDArray[np.float32]  # (3, 3)

    def decode(self, native: Float) -> Float:
        light = _by_channel(native, [curve.to_light for curve in self.curves])
        return SRGB_FROM_ROOT(_root(_mixed(light, self.to_linear_srgb)))

    def encode(self, srgb: Float, _native: Float) -> Float:
        light = _mixed(LIGHT_FROM_SRGB(srgb), np.linalg.inv(self.to_linear_srgb))
        return _by_channel(_root(light), [curve.from_root for curve in self.curves])


@dataclass(frozen=True)
class GreyProfile:
    """A grey profile: one curve."""

    curve: Curve

    def decode(self, native: Float) -> Float:
        return np.repeat(SRGB_FROM_ROOT(_root(self.curve.to_light(native))), 3, axis=-1)

    def encode(self, srgb: Float, _native: Float) -> Float:
        return self.curve.from_root(_root(weighted(LIGHT_FROM_SRGB(srgb), LUMA)))


def weighted(rgb: Float, weights: tuple[float, float, float]) -> Float:
    """Return the weighted sum (h, w, 1) of (h, w, 3), equal for every memory layout."""
    red, green, blue = (
        np.float32(weight) * rgb[..., i : i + 1] for i, weight in enumerate(weights)
    )
    grey: Float = red + green + blue
    return grey


def _mixed(light: Float, matrix: NDArray[np.float32]) -> Float:
    return np.asarray(cv2.transform(light, matrix), dtype=np.float32)


def _root(light: Float) -> Float:
    root: Float = np.sqrt(light.clip(0, 1))
    return root


def _by_channel(values: Float, tables: Sequence[Table]) -> Float:
    return np.stack([table(values[..., i]) for i, table in enumerate(tables)], axis=-1)


def colour_space(profile: bytes) -> str:
    """Return the colour space that a profile describes: "RGB", "GRAY", "CMYK"...

    Raises ValueError for other data.
    """
    if len(profile) < 132 or profile[36:40] != b"acsp":
        raise ValueError("no ICC profile")
    return profile[16:20].decode("latin-1").strip()


def parse(profile: bytes) -> MatrixProfile | GreyProfile | None:
    """Parse the matrix and curves of a profile; None where it has lookup tables instead.

    Raises ValueError where the profile is damaged.
    """
    space = colour_space(profile)
    try:
        tags = _tags(profile)
        if space == "GRAY" and profile[20:24] == b"XYZ " and b"kTRC" in tags:
            return GreyProfile(_curve(tags[b"kTRC"]))
        if space == "RGB" and profile[20:24] == b"XYZ " and b"rTRC" in tags:
            red, green, blue = (_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC"))
            columns = [_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
            matrix = np.linalg.inv(SRGB_TO_XYZ) @ np.stack(columns, axis=1)
            if abs(np.linalg.det(matrix)) < 1e-4:
                raise ValueError("its primaries lie on a line")
            return MatrixProfile((red, green, blue), matrix.astype(np.float32))
    except (KeyError, struct.error) as error:
        raise ValueError(f"damaged ICC profile: {error}") from error
    return None


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    table = profile[132 : 132 + 12 * count]
    return {
        name: profile[start : start + size]
        for name, start, size in struct.iter_unpack(">4sII", table)
    }


def _fixed(data: bytes) -> NDArray[np.float64]:
    return np.frombuffer(data, ">i4") / 65536


def _xyz(data: bytes) -> NDArray[np.float64]:
    if data[:4] != b"XYZ " or len(data) < 20:
        raise ValueError("damaged ICC colorant")
    return _fixed(data[8:20])


def _curve(data: bytes) -> Curve:
    if data[:4] == b"curv":
        samples = _sampled(data)
    elif data[:4] == b"para":
        samples = _parametric(data)
    else:
        raise ValueError("damaged ICC curve")
    if not np.isfinite(samples).all() or samples[-1] <= samples[0]:
        raise ValueError("an ICC curve does not rise")
    return Curve(np.maximum.accumulate(samples.clip(0, 1)))


def _sampled(data: bytes) -> NDArray[np.float64]:
    """Parse `curv`: no value is the identity, one is a gamma, more are samples."""
    (count,) = struct.unpack_from(">I", data, 8)
    values = np.frombuffer(data[12 : 12 + 2 * count], ">u2").astype(np.float64)
    if len(values) != count:
        raise ValueError("an ICC curve is cut short")
    if count == 0:
        return np.linspace(0, 1, 2)
    if count == 1:
        return np.linspace(0, 1, SAMPLES) ** float(values[0] / 256)
    return values / 65535


def _parametric(data: bytes) -> NDArray[np.float64]:
    """Parse `para`: y = (a x + b) ** g + e from d on, c x + f below; five types leave some out."""
    (curve_type,) = struct.unpack_from(">H", data, 8)
    if curve_type > 4:
        raise ValueError(f"ICC curve type {curve_type} is unknown")
    size = (1, 3, 4, 5, 7)[curve_type]
    if len(data) < 12 + 4 * size:
        raise ValueError("an ICC curve is cut short")
    given = [float(value) for value in _fixed(data[12 : 12 + 4 * size])]
    g, a, b, c, d, e, f = given + [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0][len(given) :]
    if curve_type in {1, 2}:
        if a == 0:
            raise ValueError("damaged ICC curve")
        c, d, e, f = 0.0, -b / a, c, c
    x = np.linspace(0, 1, SAMPLES)
    power = np.maximum(a * x + b, 0) ** g + e
    return np.where(x >= d, power, c * x + f)
