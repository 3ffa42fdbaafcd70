"""The networks of a study: with random weights, restored with, or pre-trained."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from maskdcpt_cli.models import Backbone, build_backbone
from maskdcpt_cli.weights.checkpoint import Checkpoint, build
from maskdcpt_cli.weights.zoo import ZOO, read_model

Training = Literal["random", "restoration", "pre-training"]


class PaperFigure(NamedTuple):
    """What the paper reports of 5D."""

    told: str  # the figure in %, as printed
    place: str  # in the paper


# Table X, before the first iteration and after the last, which are the figures of Sec. III, too.
RANDOM = {"swinir": "54", "nafnet": "52", "restormer": "60", "promptir": "56"}
PRE_TRAINED = {"swinir": "94", "nafnet": "98", "restormer": "99", "promptir": "98"}
RESTORING = PaperFigure(">= 94", "Sec. III, after 3D restoration training")


@dataclass(frozen=True)
class ProbedModel:
    """A network that is studied, opened when its turn comes: one at a time is in memory."""

    name: str
    backbone: str
    training: Training
    open: Callable[[], Backbone]

    @property
    def paper_figure(self) -> PaperFigure | None:
        """What the paper reports of networks of this kind."""
        if self.training == "restoration":
            return RESTORING
        figures = RANDOM if self.training == "random" else PRE_TRAINED
        if self.backbone not in figures:
            return None
        return PaperFigure(figures[self.backbone], "Table X")


def untrained(backbone: str, *, seed: int = 0, **options: object) -> ProbedModel:
    """A backbone as it is before training; options left out take the released values."""
    size = " of this size" if options else ""
    return ProbedModel(
        f"{backbone}{size}", backbone, "random", lambda: _random(backbone, options, seed=seed)
    )


def model(name: str) -> ProbedModel:
    """A named model, or a file of weights; a file with a classifier comes from pre-training.

    Raises MaskDCPTError where there is none.
    """
    checkpoint = read_model(name)
    training: Training = "restoration" if checkpoint.restores else "pre-training"
    label = name if name in ZOO else Path(name).stem
    return ProbedModel(label, checkpoint.backbone, training, lambda: build(read_model(name)))


def untrained_like(name: str, *, seed: int = 0) -> ProbedModel:
    """The network of a model, before training."""
    checkpoint: Checkpoint = read_model(name)
    return untrained(checkpoint.backbone, seed=seed, **checkpoint.options)


def _random(backbone: str, options: dict[str, object], *, seed: int) -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_backbone(backbone, **options)
