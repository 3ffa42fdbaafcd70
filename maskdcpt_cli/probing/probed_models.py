"""Networks of a study: with random weights, trained for restoration, or pre-trained."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

from maskdcpt_cli.models import Backbone, build_backbone
from maskdcpt_cli.weights.building import build
from maskdcpt_cli.weights.checkpoint import Checkpoint
from maskdcpt_cli.weights.zoo import label_of, read_model

Training = Literal["random", "restoration", "pre-training"]


class PaperFigure(NamedTuple):
    """Figure of the paper on 5D."""

    value: str  # accuracy in %, as printed
    source: str  # table or section


# Table X, after so many iterations of pre-training; Sec. III has the same first and last figures.
ITERATIONS = (0, 25_000, 50_000, 75_000, 100_000)
TABLE_X = {
    "swinir": ("54", "69", "82", "89", "94"),
    "nafnet": ("52", "90", "95", "97", "98"),
    "restormer": ("60", "92", "97", "99", "99"),
    "promptir": ("56", "90", "94", "97", "98"),
}
RESTORATION = PaperFigure(">= 94", "Sec. III, after 3D restoration training")


@dataclass(frozen=True)
class ProbedModel:
    """Network of a study, loaded by `open` so that only one is in memory at a time."""

    name: str
    backbone: str
    training: Training
    open: Callable[[], Backbone]
    iteration: int | None = None  # of its training; None: the last one, or not known

    @property
    def paper_figure(self) -> PaperFigure | None:
        """Figure of the paper for this backbone and training; None if there is none."""
        if self.training == "restoration":
            return None if self.iteration is not None else RESTORATION
        at = 0 if self.training == "random" else self.iteration
        at = ITERATIONS[-1] if at is None else at
        if self.backbone not in TABLE_X or at not in ITERATIONS:
            return None
        return PaperFigure(TABLE_X[self.backbone][ITERATIONS.index(at)], "Table X")


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
    return ProbedModel(
        label_of(name), checkpoint.backbone, training, lambda: build(read_model(name))
    )


def untrained_like(name: str, *, seed: int = 0) -> ProbedModel:
    """Return the network of a model with random weights."""
    checkpoint: Checkpoint = read_model(name)
    return untrained(checkpoint.backbone, seed=seed, **checkpoint.options)


def _random(backbone: str, options: dict[str, object], *, seed: int) -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_backbone(backbone, **options)
