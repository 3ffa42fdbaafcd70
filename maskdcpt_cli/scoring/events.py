"""What passes between scoring and whoever shows it."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from numpy.typing import NDArray

NOTHING: Mapping[str, str] = MappingProxyType({})
ImageSource: TypeAlias = Path | NDArray[Any]


class Item(NamedTuple):
    """A restored image and what it is compared with, as files or arrays.

    Arrays are (H, W, 3) or (H, W), uint8, uint16, or floats in [0, 1].
    """

    name: str
    restored: ImageSource
    gt: ImageSource | None = None


class Scored(NamedTuple):
    """What was measured of an image."""

    name: str
    values: Mapping[str, float]  # finite; a metric that could not be measured is in `failed`
    notices: tuple[str, ...] = ()  # conversions, a sentence each
    problem: str | None = None  # why nothing could be measured, a sentence
    failed: Mapping[str, str] = NOTHING  # why a metric could not, by its name


class Unavailable(NamedTuple):
    """A metric that cannot be measured at all, and why, in a sentence."""

    metric: str
    reason: str


class Result(NamedTuple):
    """What is known when all images are scored."""

    over_set: Mapping[str, float]  # of metrics that have one number for all images
    unavailable: tuple[Unavailable, ...]
