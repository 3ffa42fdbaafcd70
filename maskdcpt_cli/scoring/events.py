"""Inputs and results of scoring."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from numpy.typing import NDArray

NOTHING: Mapping[str, str] = MappingProxyType({})
ImageSource: TypeAlias = Path | NDArray[Any]


class Item(NamedTuple):
    """Restored image and its ground truth, as files or arrays.

    Arrays are (H, W, 3) or (H, W), uint8, uint16, or floats in [0, 1].
    """

    name: str
    restored: ImageSource
    gt: ImageSource | None = None


class Scored(NamedTuple):
    """Values of an image."""

    name: str
    values: Mapping[str, float]  # finite; a metric that could not be measured is in `failed`
    notices: tuple[str, ...] = ()  # on conversions, a sentence each
    problem: str | None = None  # why nothing could be measured, a sentence
    failed: Mapping[str, str] = NOTHING  # why a metric could not, by its name


class Unavailable(NamedTuple):
    """Metric that is not available, and the reason, a sentence."""

    metric: str
    reason: str
