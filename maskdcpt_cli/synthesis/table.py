"""Every degradation with how it is made; a new one is a function and a row."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from maskdcpt_cli.degradations import CLEAN, LABELS, Range
from maskdcpt_cli.errors import MaskDCPTError, unknown
from maskdcpt_cli.synthesis import (
    camera,
    defocus,
    haze,
    jpeg,
    low_light,
    mixed,
    moire,
    mosaic,
    motion_blur,
    noise,
    rain,
    raindrop,
    smoothing,
    snow,
)
from maskdcpt_cli.synthesis.contract import Degraded, Image, Parameters, Synthesis


def unchanged(image: Image, _level: float, _generator: Generator) -> Degraded:
    return Degraded(image.copy(), {})


SYNTHESIS: dict[str, Synthesis] = {
    "GN": Synthesis(
        {
            "gaussian": noise.gaussian,
            "poisson": noise.poisson,
            "salt-and-pepper": noise.salt_and_pepper,
        },
        unit="sigma, of 255", least=0, usual=Range(5, 50), most=150,
    ),
    "RN": Synthesis(
        {"camera": camera.noise, "camera-jpeg": camera.saved},
        unit="sigma at mid-grey, of 255", least=0, usual=Range(2, 30), most=60,
    ),
    "MB": Synthesis(
        {"shake": motion_blur.shake, "scene": motion_blur.scene, "object": motion_blur.moving},
        unit="length of the path in pixels", least=0, usual=Range(4, 40), most=120,
    ),
    "DB": Synthesis(
        {"flat": defocus.flat, "depth": defocus.depth},
        unit="radius in pixels", least=0, usual=Range(1, 8), most=30,
    ),
    "GB": Synthesis(
        {"gaussian-and-sinc": smoothing.gaussian_and_sinc},
        unit="sigma in pixels", least=0, usual=Range(0.2, 3), most=3,
    ),
    "J": Synthesis({"jpeg": jpeg.jpeg}, unit="quality", least=100, usual=Range(10, 90), most=1),
    "H": Synthesis(
        {"homogeneous": haze.homogeneous, "patchy": haze.patchy},
        unit="optical depth of the farthest point", least=0, usual=Range(0.3, 2.5), most=6,
    ),
    "RS": Synthesis(
        {"streaks": rain.streaks},
        unit="mm of rain per hour", least=0, usual=Range(5, 100), most=200,
    ),
    "RD": Synthesis(
        {"drops": raindrop.drops},
        unit="% of the lens under drops", least=0, usual=Range(2, 25), most=50,
    ),
    "RSD": Synthesis(
        {"rain-and-drops": raindrop.rain_and_drops},
        unit="strength", least=0, usual=Range(0.1, 1), most=1,
    ),
    "S": Synthesis(
        {"snow": snow.snow}, unit="strength", least=0, usual=Range(0.1, 1), most=1,
    ),
    "MS": Synthesis({"bggr": mosaic.bggr}, unit="share", least=0, usual=Range(1, 1), most=1),
    "LL": Synthesis(
        {"low-light": low_light.low_light},
        unit="stops of light lost", least=0, usual=Range(1.5, 6.5), most=8,
    ),
    "MR": Synthesis(
        {"screen": moire.screen}, unit="strength", least=0, usual=Range(0.2, 1), most=1
    ),
    "MB+J": Synthesis(
        {"blur-jpeg": mixed.blur_jpeg}, unit="strength", least=0, usual=Range(0.1, 1), most=1
    ),
    "MB+RS": Synthesis(
        {"blur-rain": mixed.blur_rain}, unit="strength", least=0, usual=Range(0.1, 1), most=1
    ),
    "MB+LL+GN": Synthesis(
        {"blur-low-light-noise": mixed.blur_low_light_noise},
        unit="strength", least=0, usual=Range(0.1, 1), most=1,
    ),
    "LL+H+RS+S": Synthesis(
        mixed.COMPOSITES,
        unit="strength", least=0, usual=Range(0.1, 1), most=1,
    ),
    "DS+GN+GB+J": Synthesis(
        {"downsample-noise-blur-jpeg": mixed.downsample_noise_blur_jpeg},
        unit="strength", least=0, usual=Range(0.1, 1), most=1,
    ),
    CLEAN: Synthesis({"unchanged": unchanged}, unit="none", least=0, usual=Range(0, 0), most=0),
}  # fmt: skip


class Made(NamedTuple):
    """A degraded image and how it came about."""

    lq: Image
    kind: str
    level: float
    seed: int  # kinds[kind](gt, level, numpy.random.default_rng(seed)) gives the same again
    parameters: Parameters


def degrade(
    gt: Image,
    degradation: str,
    generator: Generator,
    *,
    kind: str | None = None,
    levels: Sequence[float] | Range | None = None,
) -> Made:
    """Degrade a clean image, by its size and the state of the generator alone.

    Args:
        gt: (H, W, 3) float32 sRGB in [0, 1]; it is left as it is.
        degradation: abbreviation, as "GN".
        kind: one of the degradation's variants; None draws one.
        levels: the levels to draw from, one of several or evenly from a Range, in the unit of the
            degradation; None means its usual ones.

    Raises MaskDCPTError for a kind or a level that the degradation does not have.
    """
    row = SYNTHESIS[degradation]
    levels = row.usual if levels is None else levels
    check(degradation, kind=kind, levels=levels)
    if kind is None:
        kind = tuple(row.kinds)[generator.integers(len(row.kinds))]
    if isinstance(levels, Range):
        level = float(generator.uniform(levels.low, levels.high))
    else:
        level = float(levels[int(generator.integers(len(levels)))])
    seed = int(generator.integers(2**63))
    lq, parameters = row.kinds[kind](gt, level, np.random.default_rng(seed))
    return Made(lq, kind, level, seed, parameters)


def check(degradation: str, *, kind: str | None, levels: Sequence[float] | Range) -> None:
    """Raise MaskDCPTError for a kind or a level that the degradation does not have."""
    row = SYNTHESIS[degradation]
    name = LABELS[degradation].slug
    if kind is not None and kind not in row.kinds:
        raise MaskDCPTError(unknown(f"kind of {name}", kind, row.kinds))
    low, high = sorted((row.least, row.most))
    for level in levels:
        if not low <= level <= high:
            raise MaskDCPTError(
                f"Level {level:g} is out of range for {name}: "
                f"valid are {low:g} to {high:g} ({row.unit})."
            )
