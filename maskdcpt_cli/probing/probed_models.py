"""Networks of a study: with random weights, trained for restoration, or pre-trained."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from maskdcpt_cli.models import Backbone, build_backbone
from maskdcpt_cli.weights.building import build
from maskdcpt_cli.weights.checkpoint import Checkpoint
from maskdcpt_cli.weights.zoo import ZOO, read_model

Training = Literal["random", "restoration", "pre-training"]


class PaperFigure(NamedTuple):
    """Figure of the paper on 5D."""

    value: str  # accuracy in %, as printed
    source: str  # table or section


# Table X, before the first iteration and after the last; Sec. III has the same figures.
RANDOM = {"swinir": "54", "nafnet": "52", "restormer": "60", "promptir": "56"}
PRE_TRAINED = {"swinir": "94", "nafnet": "98", "restormer": "99", "promptir": "98"}
RESTORATION = PaperFigure(">= 94", "Sec. III, after 3D restoration training")


@dataclass(frozen=True)
class ProbedModel:
    """Network of a study, loaded by `open` so that only one is in memory at a time."""

    name: str
    backbone: str
    training: Training
    open: Callable[[], Backbone]

    @property
    def paper_figure(self) -> PaperFigure | None:
        """Figure of the paper for this backbone and training; None if there is none."""
        if self.training == "restoration":
            return RESTORATION
        figures = RANDOM if self.training == "random" else PRE_TRAINED
        if self.backbone not in figures:
            return None
        return PaperFigure(figures[self.backbone], "Table X")


def untrained(backbone: str, *, seed: int = 0, **options: object) -> ProbedModel:
    """Return a backbone with random weights; options default to the released values."""
    size = " of this size" if options else ""
    return ProbedModel(
        f"{backbone}{size}", backbone, "random", lambda: _random(backbone, options, seed=seed)
    )


def probed_model(name: str) -> ProbedModel:
    """Return a named model or a file of weights; a file with a classifier is a pre-trained one.

    Raises:
        MaskDCPTError: If it does not exist.
    """
    checkpoint = read_model(name)
    training: Training = "restoration" if checkpoint.restores else "pre-training"
    label = name if name in ZOO else Path(name).stem
    return ProbedModel(label, checkpoint.backbone, training, lambda: build(read_model(name)))


def untrained_like(name: str, *, seed: int = 0) -> ProbedModel:
    """Return the network of a model with random weights."""
    checkpoint: Checkpoint = read_model(name)
    return untrained(checkpoint.backbone, seed=seed, **checkpoint.options)


def _random(backbone: str, options: dict[str, object], *, seed: int) -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_backbone(backbone, **options)
