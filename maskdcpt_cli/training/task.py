"""The task of a run: what its model is, its losses, and how it is validated and initialised."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from maskdcpt_cli.data.mixture import Sample
from maskdcpt_cli.degradations import removable
from maskdcpt_cli.errors import CheckpointError, MaskDCPTError, unknown
from maskdcpt_cli.files import shown
from maskdcpt_cli.models import BACKBONES, Backbone, build_backbone
from maskdcpt_cli.models.backbone import usual_options
from maskdcpt_cli.models.classifier import Classifier
from maskdcpt_cli.models.options import INSTRUCT, PLAIN
from maskdcpt_cli.presets.training import Run
from maskdcpt_cli.training.events import Initialised
from maskdcpt_cli.training.losses import Losses
from maskdcpt_cli.training.validation import ValidationResult, ValidationSample
from maskdcpt_cli.weights.checkpoint import CLASSIFIER, Checkpoint, read_checkpoint


class Task(Protocol):
    """Pre-training or fine-tuning."""

    name: str
    backbone: Backbone
    labels: tuple[str, ...]  # abbreviations, in the order of a classifier's logits
    best_by: str  # the score whose mean over degradations selects the best weights

    @property
    def model(self) -> nn.Module:
        """The module that is trained; it contains the backbone."""
        ...

    def decoders(self) -> Iterable[nn.Parameter]:
        """Return those of the model's parameters that are not the backbone's."""
        ...

    def losses(self, model: nn.Module, batch: Sample) -> Losses:
        """Return the losses of a batch; `model` is the task's own, or a wrapper of it."""
        ...

    def validate_sample(self, sample: ValidationSample) -> ValidationResult:
        """Return the model's output for an image, and its scores."""
        ...

    def checkpoint(self) -> Checkpoint:
        """Return the present weights, for use."""
        ...


@contextmanager
def fork_seed(seed: int) -> Iterator[None]:
    """Seed torch's random numbers within the context, and restore the CPU's state after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def init_backbone(preset: Run, labels: Sequence[str]) -> Backbone:
    """Return the backbone of a preset with random weights.

    Requests to a request-conditioned one have all labels but that of clean images.

    Raises:
        MaskDCPTError: where there is no such backbone, for options that it does not have or that
            are not valid, and where it does not fit into memory.
    """
    for name in preset.sizes.keys() - BACKBONES.keys():
        raise MaskDCPTError(f"sizes.{name}: {unknown('backbone', name, BACKBONES)}")
    options = dict(preset.options)
    if options.get("architecture") == INSTRUCT:
        options.setdefault("request_types", len(removable(labels)))
    try:
        backbone = build_backbone(preset.backbone, **options)
    except ValueError as error:
        raise MaskDCPTError(str(error)) from error
    except RuntimeError as error:  # torch's for memory that cannot be allocated
        raise MaskDCPTError(
            f"A {preset.backbone} with the options {options} does not fit into memory."
        ) from error
    if taken := [key for key in backbone.state_dict() if key.startswith(CLASSIFIER)]:
        raise MaskDCPTError(
            f"The backbone {preset.backbone} has a tensor '{taken[0]}', and files keep the "
            "classifier of degradations under such names: give the submodule another one."
        )
    return backbone


def options_of(backbone: Backbone) -> dict[str, object]:
    """Return the arguments that a backbone was built with.

    Those of a plain architecture are left out, as they are in states and files of earlier versions.
    """
    options = {name: getattr(backbone, name) for name in backbone.options}
    usual = usual_options(type(backbone))
    return {
        name: value
        for name, value in options.items()
        if not (PLAIN.get(name) == value and (name, value) in usual.items())
    }


def initialise(
    backbone: Backbone,
    preset: Run,
    *,
    classifier: Classifier | None = None,
    labels: Sequence[str] = (),
    multi_label: bool = False,
) -> Initialised | None:
    """Load the weights of the preset's file that the backbone has under the same names.

    A classifier is loaded whole, where the file's has the same labels, widths and form, or not at
    all.

    Args:
        backbone: to be initialised.
        preset: of the run.
        classifier: to be initialised; None: there is none.
        labels: of the run, and of the classifier.
        multi_label: the form of the classifier.

    Returns:
        The names of the tensors, or None where the preset has no file.

    Raises:
        CheckpointError: for a file that cannot be read, and for weights of another network.
    """
    if preset.initialise_from is None:
        return None
    path = Path(preset.initialise_from)
    given = read_checkpoint(path)
    own = backbone.state_dict()
    _check_fits(given, own, name=preset.backbone, path=path)
    _check_meaning(given, backbone, labels, path=path)
    backbone.load_state_dict(given.state_dict, strict=False)
    loaded: Mapping[str, Tensor] = {}  # of the classifier
    if (
        classifier is not None
        and (tuple(labels), multi_label) == (given.degradations, given.multi_label)
        and _shapes(classifier.state_dict()) == _shapes(given.classifier)
    ):
        classifier.load_state_dict(given.classifier)
        loaded = given.classifier
    return Initialised(
        source=path,
        loaded=(
            *(key for key in own if key in given.state_dict),
            *(CLASSIFIER + key for key in loaded),
        ),
        missing=tuple(key for key in own if key not in given.state_dict),
        left_over=(
            *(key for key in given.state_dict if key not in own),
            *(CLASSIFIER + key for key in given.classifier if key not in loaded),
        ),
    )


def _check_fits(given: Checkpoint, own: Mapping[str, Tensor], *, name: str, path: Path) -> None:
    if given.backbone != name:
        raise CheckpointError(
            f"{shown(path)} holds the weights of {given.backbone}, and {name} is to be trained; "
            f"take --backbone {given.backbone}."
        )
    for key, tensor in given.state_dict.items():
        if key in own and own[key].shape != tensor.shape:
            raise CheckpointError(
                f"{shown(path)} holds a {name} of another size: '{key}' is "
                f"{tuple(tensor.shape)} in it and {tuple(own[key].shape)} here. It was built "
                f"with the options {dict(given.options)}."
            )


def _check_meaning(
    given: Checkpoint, backbone: Backbone, labels: Sequence[str], *, path: Path
) -> None:
    """Raise CheckpointError for weights that fit in shape alone."""
    for option in set(backbone.hidden_options) & set(backbone.assumed_options):
        own, other = (
            json.dumps(value, separators=(",", ":"))
            for value in (getattr(backbone, option), given.options.get(option))
        )
        if own != other:
            raise CheckpointError(
                f"{shown(path)} is read as a {given.backbone} with {option}={other}, and it is "
                f"{own} here; take --set sizes.{given.backbone}.{option}={other}."
            )
    types = removable(labels)
    if backbone.request_types and given.requests and given.requests != types:
        raise CheckpointError(
            f"{shown(path)} holds a network that is asked for {' '.join(given.requests)}, and this "
            f"run is of {' '.join(types)}; take the same setting."
        )


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
