"""The synthesis of every degradation: one function and one row each."""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from maskdcpt_cli.degradations import CLEAN, LABELS, Range, find
from maskdcpt_cli.errors import ImageError, MaskDCPTError, unknown
from maskdcpt_cli.plugins import Registry
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
from maskdcpt_cli.synthesis.contract import Degraded, Image, Parameters, SynthesisSpec


def unchanged(image: Image, _level: float, _generator: Generator) -> Degraded:
    """Return a copy of the image."""
    return Degraded(image.copy(), {})


def _check_label(label: str, _spec: SynthesisSpec) -> None:
    if label not in LABELS:
        raise ValueError("there is no such degradation")


SYNTHESIS: Registry[SynthesisSpec] = Registry("SYNTHESIS", {
    "GN": SynthesisSpec(
        {
            "gaussian": noise.gaussian,
            "poisson": noise.poisson,
            "salt-and-pepper": noise.salt_and_pepper,
            "impulse": noise.impulse,
        },
        unit="sigma, of 255", least=0, usual=Range(5, 50), most=150,
        sampled=("gaussian", "poisson", "salt-and-pepper"),
    ),
    "RN": SynthesisSpec(
        {
            "camera": camera.noise,
            "camera-jpeg": camera.noise_and_jpeg,
            "denoised": camera.denoised,
        },
        unit="sigma at mid-grey, of 255", least=0, usual=Range(2, 30), most=60,
        sampled=("camera", "camera-jpeg"),
    ),
    "MB": SynthesisSpec(
        {
            "shake": motion_blur.shake,
            "scene": motion_blur.scene,
            "object": motion_blur.moving,
            "shake-sharp": motion_blur.shake_sharp,
        },
        unit="length of the path in pixels", least=0, usual=Range(4, 40), most=120,
        sampled=("shake", "scene", "object"),
    ),
    "DB": SynthesisSpec(
        {
            "flat": defocus.flat,
            "depth": defocus.depth,
            "bokeh": defocus.bokeh,
            "disc": defocus.disc,
        },
        unit="radius in pixels", least=0, usual=Range(1, 8), most=30, sampled=("flat", "depth"),
    ),
    "GB": SynthesisSpec(
        {"gaussian-and-sinc": smoothing.gaussian_and_sinc},
        unit="sigma in pixels", least=0, usual=Range(0.2, 3), most=3,
    ),
    "J": SynthesisSpec(
        {"jpeg": jpeg.jpeg, "twice": jpeg.twice},
        unit="quality", least=100, usual=Range(10, 90), most=1, sampled=("jpeg",),
    ),
    "H": SynthesisSpec(
        {
            "homogeneous": haze.homogeneous,
            "patchy": haze.patchy,
            "even": haze.even,
            "landscape": haze.landscape,
        },
        unit="optical depth of the farthest point", least=0, usual=Range(0.3, 2.5), most=6,
        sampled=("homogeneous", "patchy"),
    ),
    "RS": SynthesisSpec(
        {
            "streaks": rain.streaks,
            "crossing": rain.crossing,
            "downpour": rain.downpour,
            "unveiled": rain.unveiled,
        },
        unit="mm of rain per hour", least=0, usual=Range(5, 100), most=200, sampled=("streaks",),
    ),
    "RD": SynthesisSpec(
        {"drops": raindrop.drops},
        unit="% of the lens under drops", least=0, usual=Range(2, 25), most=50,
    ),
    "RSD": SynthesisSpec(
        {"rain-and-drops": raindrop.rain_and_drops},
        unit="strength", least=0, usual=Range(0.1, 1), most=1,
    ),
    "S": SynthesisSpec(
        {"snow": snow.snow, "unveiled": snow.unveiled},
        unit="strength", least=0, usual=Range(0.1, 1), most=1, sampled=("snow",),
    ),
    "MS": SynthesisSpec({"bggr": mosaic.bggr}, unit="fraction", least=0, usual=Range(1, 1), most=1),
    "LL": SynthesisSpec(
        {"low-light": low_light.low_light, "backlit": low_light.backlit},
        unit="stops of light lost", least=0, usual=Range(1.5, 6.5), most=8,
        sampled=("low-light",),
    ),
    "MR": SynthesisSpec(
        {"screen": moire.screen}, unit="strength", least=0, usual=Range(0.2, 1), most=1
    ),
    "MB+J": SynthesisSpec(
        {"blur-jpeg": mixed.blur_jpeg}, unit="strength", least=0, usual=Range(0.1, 1), most=1
    ),
    "MB+RS": SynthesisSpec(
        {"blur-rain": mixed.blur_rain}, unit="strength", least=0, usual=Range(0.1, 1), most=1
    ),
    "MB+LL+GN": SynthesisSpec(
        {"blur-low-light-noise": mixed.blur_low_light_noise},
        unit="strength", least=0, usual=Range(0.1, 1), most=1,
    ),
    "LL+H+RS+S": SynthesisSpec(
        mixed.COMPOSITES,
        unit="strength", least=0, usual=Range(0.1, 1), most=1,
    ),
    "DS+GN+GB+J": SynthesisSpec(
        {"downsample-noise-blur-jpeg": mixed.downsample_noise_blur_jpeg},
        unit="strength", least=0, usual=Range(0.1, 1), most=1,
    ),
    CLEAN: SynthesisSpec({"unchanged": unchanged}, unit="none", least=0, usual=Range(0, 0), most=0),
}, check=_check_label)  # fmt: skip


class DegradationStep(NamedTuple):
    """A degradation of which everything is sampled: it does the same to the same image."""

    degradation: str  # label
    variant: str
    level: float
    seed: int

    def __call__(self, image: Image) -> Degraded:
        """Degrade (H, W, 3) float32 sRGB in [0, 1], which is not modified."""
        function = SYNTHESIS[self.degradation].variants[self.variant]
        return function(image, self.level, np.random.default_rng(self.seed))


class DegradeResult(NamedTuple):
    """A degraded image, and its parameters.

    `SYNTHESIS[label].variants[variant](gt, level, numpy.random.default_rng(seed))` makes the same
    image again.
    """

    lq: Image
    variant: str
    level: float
    seed: int
    parameters: Parameters


def degrade(
    gt: Image,
    degradation: str,
    generator: Generator,
    *,
    variant: str | None = None,
    levels: Sequence[float] | Range | None = None,
) -> DegradeResult:
    """Degrade a clean image.

    The result depends on the image and on the state of the generator alone.

    Args:
        gt: (H, W, 3) float32 sRGB in [0, 1]; not modified.
        degradation: abbreviation or name, as "GN" or "noise".
        generator: the source of all that is sampled: variant, level and parameters.
        variant: one of the degradation's variants; None samples one, as in `maskdcpt degrade`.
        levels: levels to sample from, in the unit of the degradation: a list, or a Range, which is
            sampled uniformly; None is the usual range.

    Returns:
        The degraded image in the shape of `gt`, with its variant, level, seed and parameters.

    Raises:
        MaskDCPTError: for a degradation, variant or level that does not exist.
        ImageError: for an image of another dtype or shape.
    """
    label = find(degradation)
    if isinstance(levels, (int, float)):
        raise MaskDCPTError(f"levels is {levels:g}; give a list, as [{levels:g}], or a Range.")
    check(label, variant=variant, levels=spec_of(label).usual if levels is None else levels)
    _check_image(gt)
    step = sample(label, generator, variant=variant, levels=levels)
    lq, parameters = step(gt)
    return DegradeResult(lq, step.variant, step.level, step.seed, parameters)


def sample(
    label: str,
    generator: Generator,
    *,
    variant: str | None = None,
    levels: Sequence[float] | Range | None = None,
) -> DegradationStep:
    """Sample variant, level and seed of a degradation; arguments and errors as of `degrade`."""
    spec = spec_of(label)
    levels = spec.usual if levels is None else levels
    if len(levels) == 0:
        raise MaskDCPTError("The list of levels is empty; give at least one level, or None.")
    if variant is None:
        usual = spec.sampled or tuple(spec.variants)
        variant = usual[generator.integers(len(usual))]
    if isinstance(levels, Range):
        level = float(generator.uniform(levels.low, levels.high))
    else:
        level = float(levels[int(generator.integers(len(levels)))])
    return DegradationStep(label, variant, level, int(generator.integers(2**63)))


def spec_of(label: str) -> SynthesisSpec:
    """Return the synthesis of a degradation; MaskDCPTError where a plugin's has none."""
    if label not in SYNTHESIS:
        raise MaskDCPTError(
            f"The degradation '{LABELS[label].slug}' cannot be synthesised: its plugin has no "
            f"'{label}' in SYNTHESIS; give pairs."
        )
    return SYNTHESIS[label]


def generator_of(*names: str, seed: Sequence[int]) -> Generator:
    """Return the random generator of an image: it depends on its names and the seed alone."""
    hashes = (zlib.crc32(name.encode(errors="surrogateescape")) for name in names)
    return np.random.default_rng((*seed, *hashes))


def check(label: str, *, variant: str | None, levels: Sequence[float] | Range) -> None:
    """Raise MaskDCPTError for a variant or a level that a degradation does not have."""
    if variant is None and len(levels) == 0:
        return
    spec = spec_of(label)
    name = LABELS[label].slug
    if variant is not None and variant not in spec.variants:
        raise MaskDCPTError(unknown(f"variant of {name}", variant, spec.variants))
    low, high = sorted((spec.least, spec.most))
    if isinstance(levels, Range) and levels.low > levels.high:
        raise MaskDCPTError(
            f"Levels of {name} from {levels.low:g} to {levels.high:g}: give the lower one first."
        )
    for level in levels:
        if not low <= level <= high:
            raise MaskDCPTError(
                f"Level {level:g} is out of range for {name}: "
                f"valid are {low:g} to {high:g} ({spec.unit})."
            )


def _check_image(gt: object) -> None:
    if not isinstance(gt, np.ndarray) or gt.dtype != np.float32:
        dtype = getattr(gt, "dtype", type(gt).__name__)
        hint = "; divide 8-bit values by numpy.float32(255)" if dtype == np.uint8 else ""
        raise ImageError(
            f"The image is {dtype}, but degrade takes a float32 NumPy array with values in "
            f"[0, 1]{hint}."
        )
    if gt.ndim != 3 or gt.shape[2] != 3 or not gt.size:
        raise ImageError(
            f"The image has the shape {gt.shape}, but degrade takes (H, W, 3): RGB, channels last."
        )
