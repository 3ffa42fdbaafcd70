"""The contract of a synthesis: a pure function of (image, level, generator)."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskdcpt_cli.degradations import Range

Image = NDArray[np.float32]  # (H, W, 3), sRGB in [0, 1]
Parameters = dict[str, float | int | str]  # what was drawn, for a manifest


class Degraded(NamedTuple):
    """A degraded image, and the parameters that were sampled for it."""

    lq: Image
    parameters: Parameters


class Degrade(Protocol):
    """Degrade an image at a level.

    The image is not modified. The result has its shape, is contiguous, and is in [0, 1]; it is the
    same for the same state of the generator, whatever else runs in the process.
    """

    def __call__(self, image: Image, level: float, generator: Generator, /) -> Degraded: ...


class SynthesisSpec(NamedTuple):
    """The variants of one degradation, and its levels."""

    variants: Mapping[str, Degrade]
    unit: str  # of the level, as "sigma, of 255"
    least: float  # level of no damage, or the least level of the model
    usual: Range  # the range of levels that is sampled by default
    most: float  # the strongest level that is accepted
    sampled: tuple[str, ...] = ()  # variants, equally probable, if none is named; (): all
