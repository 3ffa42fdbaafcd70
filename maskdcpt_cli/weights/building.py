"""Networks and classifiers built from checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from maskdcpt_cli.degradations import alternatives
from maskdcpt_cli.errors import CheckpointError
from maskdcpt_cli.files import shown
from maskdcpt_cli.models import Backbone, build_backbone
from maskdcpt_cli.models.layers import lay_out
from maskdcpt_cli.models.maskdcpt import MaskDCPT
from maskdcpt_cli.weights.checkpoint import ADVICE, Checkpoint
from maskdcpt_cli.weights.recognise import classifier_sizes

CROP_SIZE = 128  # of a classifier whose file does not record it
MIN_THRESHOLD = 0.5  # of a label, and that of a label without one; see docs/classifying.md


@dataclass(frozen=True, eq=False)
class DegradationClassifier:
    """A network that classifies degradations, with its labels and calibration."""

    network: MaskDCPT
    degradations: tuple[str, ...]  # abbreviations, or CLEAN, in the order of its logits
    temperature: float | None = None  # divides its logits; None: not calibrated
    crop_size: int = CROP_SIZE  # side of its last training crops, and of its tiles, in pixels
    multi_label: bool = False  # whether it has a sigmoid for each label, not one softmax
    thresholds: Mapping[str, float] = field(default_factory=dict)  # of a multi-label one, by label

    def threshold(self, label: str) -> float:
        """Return the probability above which a photo has the label, of a multi-label one."""
        return self.thresholds.get(label, MIN_THRESHOLD)


def pool_alternatives(probabilities: Tensor, labels: Sequence[str]) -> Tensor:
    """Give the likeliest kind of noise, and of blur, the probability of its kinds together.

    Args:
        probabilities: Of a multi-label classifier, (..., labels).
        labels: Its labels.

    Returns:
        The probabilities, of which those of `degradations.alternatives` are pooled.
    """
    pooled = probabilities.clone()
    for kinds in alternatives(labels):
        of_kinds = probabilities[..., kinds]
        likeliest = torch.tensor(kinds)[of_kinds.argmax(dim=-1, keepdim=True)]
        pooled.scatter_(-1, likeliest, of_kinds.sum(dim=-1, keepdim=True).clamp(max=1))
    return pooled


def build(checkpoint: Checkpoint) -> Backbone:
    """Build the network with its weights, float32 on the CPU, in evaluation mode.

    Raises CheckpointError where a key is missing, unexpected or of the wrong shape, and where the
    network can be asked for another number of types than are listed.
    """
    name = _name(checkpoint)
    try:
        with _WithoutInit():
            model = build_backbone(checkpoint.backbone, **checkpoint.options)
    except (TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise CheckpointError(f"{name} has options that do not work: {reason}.") from error
    except RuntimeError as error:  # torch's for memory that cannot be allocated
        raise CheckpointError(f"{name} has options whose network is too large.") from error
    _fill(model, checkpoint.state_dict, name=name, kind=checkpoint.backbone)
    model.requests = checkpoint.requests
    if model.requests and len(model.requests) != model.request_types:
        raise CheckpointError(
            f"{name} has a network conditioned on {model.request_types} types, but lists "
            f"{len(model.requests)} degradations. {ADVICE}"
        )
    return model.eval()


def build_classifier(checkpoint: Checkpoint) -> DegradationClassifier:
    """Build the classifier without the reconstruction decoder: float32, CPU, evaluation mode.

    Raises CheckpointError for a checkpoint without a classifier, or with one that does not fit.
    """
    name = _name(checkpoint)
    if not checkpoint.classifier:
        raise CheckpointError(
            f"{name} holds no classifier of degradations: take the model tiny-classifier, or a "
            "file that `maskdcpt pretrain` writes."
        )
    try:
        dims, classes = classifier_sizes(checkpoint.classifier)
        with _WithoutInit():
            model = MaskDCPT(
                build(checkpoint), classes=classes, reconstruction=False, classifier_dims=dims
            )
    except ValueError as error:
        raise CheckpointError(f"{name} has a classifier that does not work: it {error}.") from error
    except RuntimeError as error:  # torch's for memory that cannot be allocated
        raise CheckpointError(f"{name} has a classifier that is too large.") from error
    if classes != len(checkpoint.degradations):
        raise CheckpointError(
            f"{name} has a classifier of {classes} classes, but lists "
            f"{len(checkpoint.degradations)} degradations. {ADVICE}"
        )
    assert model.classifier is not None
    _fill(model.classifier, checkpoint.classifier, name=name, kind="the classifier")
    return DegradationClassifier(
        lay_out(model.eval(), torch.channels_last),  # a fifth faster on a CPU
        checkpoint.degradations,
        checkpoint.temperature,
        checkpoint.crop_size or CROP_SIZE,
        checkpoint.multi_label,
        checkpoint.thresholds,
    )


def _name(checkpoint: Checkpoint) -> str:
    return shown(checkpoint.source) if checkpoint.source else "The checkpoint"


def _fill(model: nn.Module, tensors: Mapping[str, Tensor], *, name: str, kind: str) -> None:
    misfits = _misfits(model.state_dict(), tensors)
    if misfits:
        raise CheckpointError(f"{name} does not fit {kind}: {'; '.join(misfits)}. {ADVICE}")
    model.load_state_dict(tensors)


class _WithoutInit(TorchFunctionMode):
    """A mode that skips initialisation: that of NAFNet-64, overwritten at once, takes 2 s."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def _misfits(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    differing = [
        f"{name} is {tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in given and given[name].shape != tensor.shape
    ]
    kinds = {
        "missing": [name for name in expected if name not in given],
        "unexpected": [name for name in given if name not in expected],
        "of the wrong shape": differing,
    }
    return [
        f"{len(names)} {kind} ({shown(', '.join(names[:3]))}{', ...' if len(names) > 3 else ''})"
        for kind, names in kinds.items()
        if names
    ]
