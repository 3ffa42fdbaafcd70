"""What a run trains: the loop knows how, a task knows what."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from maskdcpt_cli.data.mixture import Sample
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.models import Backbone, build_backbone
from maskdcpt_cli.presets.training import Run
from maskdcpt_cli.training.calibration import Answer
from maskdcpt_cli.training.losses import Losses
from maskdcpt_cli.weights.checkpoint import Checkpoint


class Example(NamedTuple):
    """One validation image."""

    lq: Tensor  # (1, 3, H, W)
    gt: Tensor  # as lq
    number: Tensor  # (1,), of its pair
    degradation: str  # abbreviation


class Examined(NamedTuple):
    """What a model makes of a validation image."""

    scores: Mapping[str, float]
    lq: Tensor  # (3, H, W), as the network sees it
    made: Tensor  # (3, H, W)
    answer: Answer | None = None  # of its classifier, to the whole image


class Task(Protocol):
    """Pre-training or fine-tuning."""

    name: str
    backbone: Backbone
    labels: tuple[str, ...]  # abbreviations, in the order of a classifier's classes
    best_by: str  # the score whose mean over degradations tells the best weights

    @property
    def model(self) -> nn.Module:
        """What learns, the backbone in it."""
        ...

    def decoders(self) -> Iterable[nn.Parameter]:
        """Those of the model's parameters that are not the backbone's."""
        ...

    def losses(self, model: nn.Module, batch: Sample) -> Losses:
        """The losses of a batch; `model` is the task's own, or what wraps it."""
        ...

    def examine(self, example: Example) -> Examined:
        """What the model makes of an image."""
        ...

    def checkpoint(self) -> Checkpoint:
        """The weights as they are now, for those who use them."""
        ...


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within, weights are drawn by this seed; without, nothing notices."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def drawn_backbone(preset: Run) -> Backbone:
    """The backbone of a preset with random weights; MaskDCPTError where there is none such."""
    try:
        return build_backbone(preset.backbone, **preset.options)
    except (TypeError, ValueError) as error:
        raise MaskDCPTError(str(error)) from error


def options_of(backbone: Backbone) -> dict[str, object]:
    """The arguments that a backbone was made with."""
    return {name: getattr(backbone, name) for name in backbone.options}
