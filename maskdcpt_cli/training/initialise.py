"""A new run from the weights of an earlier one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from maskdcpt_cli.errors import CheckpointError
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.models.classifier import Classifier
from maskdcpt_cli.presets.training import Run
from maskdcpt_cli.training.events import Initialised
from maskdcpt_cli.weights.checkpoint import CLASSIFIER, read_checkpoint


def initialise(
    backbone: Backbone,
    preset: Run,
    *,
    classifier: Classifier | None = None,
    labels: Sequence[str] = (),
) -> Initialised | None:
    """Take over the weights in the preset's file that its backbone has under the same names.

    A classifier takes over another's of the same labels and widths, whole; others are left over.

    Raises CheckpointError for a file that cannot be read, and for weights of another network.
    """
    if preset.initialise_from is None:
        return None
    path, name = Path(preset.initialise_from), preset.backbone
    given = read_checkpoint(path)
    if given.backbone != name:
        raise CheckpointError(
            f"{path} holds the weights of {given.backbone}, and {name} is to be trained; "
            f"take --backbone {given.backbone}."
        )
    own = backbone.state_dict()
    for key, tensor in given.state_dict.items():
        if key in own and own[key].shape != tensor.shape:
            raise CheckpointError(
                f"{path} holds a {name} of another size: '{key}' is {tuple(tensor.shape)} in it "
                f"and {tuple(own[key].shape)} here. It was made with the options "
                f"{dict(given.options)}."
            )
    backbone.load_state_dict(given.state_dict, strict=False)
    named: Mapping[str, Tensor] = {}
    if (
        classifier is not None
        and tuple(labels) == given.degradations
        and _shapes(classifier.state_dict()) == _shapes(given.classifier)
    ):
        classifier.load_state_dict(given.classifier)
        named = given.classifier
    return Initialised(
        source=path,
        loaded=(
            *(key for key in own if key in given.state_dict),
            *(CLASSIFIER + key for key in named),
        ),
        missing=tuple(key for key in own if key not in given.state_dict),
        left_over=(
            *(key for key in given.state_dict if key not in own),
            *(CLASSIFIER + key for key in given.classifier if key not in named),
        ),
    )


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
