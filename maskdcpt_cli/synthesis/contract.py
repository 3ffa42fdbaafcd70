"""What every synthesis is: a pure function of (image, level, generator)."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskdcpt_cli.degradations import Range

Image = NDArray[np.float32]  # (H, W, 3), sRGB in [0, 1]
Parameters = dict[str, float | int | str]  # what was drawn, for a manifest


class Degraded(NamedTuple):
    lq: Image
    parameters: Parameters


class Degrade(Protocol):
    """Degrade an image at a level.

    The image is left as it is. What comes back has its shape, is contiguous, and lies in [0, 1];
    it is the same for the same generator state, whatever else runs in the process.
    """

    def __call__(self, image: Image, level: float, generator: Generator, /) -> Degraded: ...


class SynthesisSpec(NamedTuple):
    """How one degradation is made, and at which levels."""

    variants: Mapping[str, Degrade]  # the variants, each as likely as another unless one is named
    unit: str  # of the level, as "sigma, of 255"
    least: float  # the level of no damage, or of the least that the model knows
    usual: Range  # where levels are drawn from unless told
    most: float  # the strongest level that is accepted
