"""A new run from the weights of an earlier one."""

from pathlib import Path

from maskdcpt_cli.checkpoints import read_checkpoint
from maskdcpt_cli.errors import CheckpointError
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.training.events import Initialised
from maskdcpt_cli.training_presets import Run


def initialise(backbone: Backbone, preset: Run) -> Initialised | None:
    """Take over the weights in the preset's file that its backbone has under the same names.

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
    return Initialised(
        source=path,
        loaded=tuple(key for key in own if key in given.state_dict),
        missing=tuple(key for key in own if key not in given.state_dict),
        left_over=(
            *(key for key in given.state_dict if key not in own),
            *(f"classifier.{key}" for key in given.classifier),
        ),
    )
