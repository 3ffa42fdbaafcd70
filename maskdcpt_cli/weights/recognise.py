"""Recognition of the network from the names and shapes of its tensors."""

from collections.abc import Mapping
from itertools import chain

from torch import Tensor

from maskdcpt_cli.models import BACKBONES, backbone_class
from maskdcpt_cli.models.shapes import count_children, size_of
from maskdcpt_cli.plugins import needed


def recognise(
    state_dict: Mapping[str, Tensor], *, recorded: str | None = None
) -> tuple[str, dict[str, object]]:
    """Return the backbone of tensors and its options, from their names and shapes.

    A plugin's may be a subclass of another one, so the name that their file has comes first.

    Raises ValueError for tensors of another network.
    """
    shapes = _shapes(state_dict)
    first = [recorded] if recorded and needed(BACKBONES=[recorded]) else []
    for name in chain(first, BACKBONES):
        backbone = backbone_class(name)
        if backbone.telltale in shapes:
            return name, backbone.options_from(shapes)
    names = ", ".join(f"'{name}'" for name in list(shapes)[:3]) or "nothing"
    raise ValueError(
        f"holds the weights of another network ({names}), not of {', '.join(sorted(BACKBONES))}"
    )


def classifier_sizes(tensors: Mapping[str, Tensor]) -> tuple[tuple[int, ...], int]:
    """Return the widths of the stages of a classifier and its number of classes.

    Raises ValueError for other tensors.
    """
    shapes = _shapes(tensors)
    stages = range(count_children(shapes, "stages."))
    dims = tuple(size_of(shapes, f"stages.{i}.blocks.0.conv1.weight", 0) for i in stages)
    return dims, size_of(shapes, "linear.weight", 0)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
