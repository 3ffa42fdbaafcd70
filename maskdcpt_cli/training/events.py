"""What a training run tells as it goes; on every rank alike, unless said otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (H, W, 3), sRGB
Scores = Mapping[str, Mapping[str, float]]  # by degradation, then by metric


@dataclass(frozen=True)
class Initialised:
    """Weights were taken over from a file; the names are those of the network's tensors."""

    source: Path
    loaded: tuple[str, ...]
    missing: tuple[str, ...]  # of the network, not in the file: they keep their own initialisation
    left_over: tuple[str, ...]  # of the file, not in the network


@dataclass(frozen=True)
class Step:
    """An iteration is done."""

    iteration: int  # how many are done
    iterations: int  # of the whole run
    losses: Mapping[str, float]  # "total" and its parts, each the mean over the batch of all ranks
    accuracy: float | None  # share of the batch whose degradation was named; None: not asked for
    rate: float  # of the encoder's last stage
    batch: int  # images of all ranks together
    images_per_second: float  # of all ranks together
    waited: float  # share of the iteration's time that this rank waited for data
    memory: int  # the most bytes that this rank's process has held, of the GPU where it has one
    skipped: int  # iterations without a step so far in the run, as their loss was NaN or infinite


class Picture(NamedTuple):
    """One image of a validation."""

    degradation: str  # abbreviation
    lq: Pixels  # masked in pre-training
    made: Pixels  # reconstructed or restored
    gt: Pixels


@dataclass(frozen=True)
class Validated:
    """The validation images were looked at, by the averaged weights where there are such."""

    iteration: int
    scores: Scores  # "accuracy", in pre-training; "psnr" and "ssim", in fine-tuning
    pictures: tuple[Picture, ...] = ()  # one of each degradation, on rank 0
    temperature: float | None = None  # that calibrates the classifier, where there is one


@dataclass(frozen=True)
class Saved:
    """A file was written; on rank 0."""

    iteration: int
    path: Path


@dataclass(frozen=True)
class Notice:
    """Something that a person should know."""

    text: str


Event = Initialised | Step | Validated | Saved | Notice
