"""Events of a training run; the same on every rank, unless stated otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (H, W, 3), sRGB
Scores = Mapping[str, Mapping[str, float]]  # by degradation, then by metric


@dataclass(frozen=True)
class Initialised:
    """Weights of a file were loaded; the names are those of the network's tensors."""

    source: Path
    loaded: tuple[str, ...]
    missing: tuple[str, ...]  # of the network, not in the file: they keep their random weights
    left_over: tuple[str, ...]  # of the file, not in the network


@dataclass(frozen=True)
class Step:
    """An iteration is done."""

    iteration: int  # how many are done
    iterations: int  # of the whole run
    losses: Mapping[str, float]  # "total" and its parts, each the mean over the batch of all ranks
    accuracy: float | None  # fraction of the batch with all labels right; None: no classifier
    lr: float  # of the encoder's last stage
    batch: int  # images of all ranks together
    images_per_second: float  # of all ranks together
    waited: float  # fraction of the iteration's time that this rank waited for data
    memory: int  # peak bytes of this rank's process, of the GPU where it has one
    skipped: int  # iterations without a step so far in the run: NaN, infinity, overflows of fp16
    warm_up: bool = False  # whether its speed is not that of the run: it compiled, or had no queue


class ValidationImages(NamedTuple):
    """The images of one validation sample."""

    degradation: str  # abbreviation
    lq: Pixels  # masked in pre-training
    output: Pixels  # reconstructed or restored
    gt: Pixels


@dataclass(frozen=True)
class Validated:
    """The model was validated, with its averaged weights where there are such."""

    iteration: int
    scores: Scores  # "accuracy", in pre-training; "psnr" and "ssim", in fine-tuning
    images: tuple[ValidationImages, ...] = ()  # one of each degradation, on rank 0
    temperature: float | None = None  # that calibrates the classifier, where there is one
    thresholds: Mapping[str, float] = field(default_factory=dict)  # of a multi-label one, by label


@dataclass(frozen=True)
class Saved:
    """A file was written; on rank 0."""

    iteration: int
    path: Path


@dataclass(frozen=True)
class Notice:
    """A sentence for the user."""

    text: str


Event = Initialised | Step | Validated | Saved | Notice
