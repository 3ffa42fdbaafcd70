"""Recognition of the network from the names and shapes of its tensors."""

import math
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from itertools import count, takewhile

from torch import Tensor

from maskdcpt_cli.models import BACKBONES

Shapes = Mapping[str, tuple[int, ...]]


def recognise(state_dict: Mapping[str, Tensor]) -> tuple[str, dict[str, object]]:
    """Return the backbone of tensors and its options, from their names and shapes.

    The heads and window of SwinIR cannot be inferred: heads of 30 channels and the released window
    are assumed. Raises ValueError for tensors of another network.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in state_dict.items()}
    for telltale, (backbone, options) in RECOGNISED_BY.items():
        if telltale in shapes:
            return backbone, options(shapes)
    names = ", ".join(f"'{name}'" for name in list(shapes)[:3]) or "nothing"
    raise ValueError(
        f"holds the weights of another network ({names}), not of {', '.join(sorted(BACKBONES))}"
    )


def _nafnet(shapes: Shapes) -> dict[str, object]:
    stages = range(_children(shapes, "downs."))
    return {
        "width": _size(shapes, "intro.weight", 0),
        "enc_blk_nums": tuple(_children(shapes, f"encoders.{i}.blocks.") for i in stages),
        "middle_blk_num": _children(shapes, "middle_blks.blocks."),
        "dec_blk_nums": tuple(_children(shapes, f"decoder{i}.blocks.") for i in stages),
        "unshuffle": math.isqrt(_size(shapes, "intro.weight", 1) // 3),
    }


def _restormer(shapes: Shapes) -> dict[str, object]:
    levels = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")
    return {
        "dim": _size(shapes, "patch_embed.proj.weight", 0),
        "num_blocks": tuple(_children(shapes, f"{level}.blocks.") for level in levels),
        "num_refinement_blocks": _children(shapes, "refinement.blocks."),
        "heads": tuple(_size(shapes, f"{level}.blocks.0.attn.temperature", 0) for level in levels),
        "ffn_expansion_factor": _expansion(
            (_size(shapes, name, 1), _size(shapes, name, 0) // 2)
            for name in shapes
            if name.endswith(".ffn.project_in.weight")
        ),
    }


def _swinir(shapes: Shapes) -> dict[str, object]:
    groups = [f"encode_layers.{i}" for i in range(_children(shapes, "encode_layers."))]
    later = (f"decode_layers{i}" for i in count())
    groups += takewhile(lambda group: f"{group}.conv.weight" in shapes, later)
    embed_dim = _size(shapes, "conv_first.weight", 0)
    depths = tuple(_children(shapes, f"{group}.residual_group.blocks.") for group in groups)
    return {
        "embed_dim": embed_dim,
        "depths": depths,
        "num_heads": (max(embed_dim // 30, 1),) * len(depths),
        "mlp_ratio": _expansion(
            (_size(shapes, name, 1), _size(shapes, name, 0))
            for name in shapes
            if name.endswith(".mlp.fc1.weight")
        ),
        "window_size": 8,
    }


# A key that only this backbone has; PromptIR has that of Restormer, too, so it comes first.
RECOGNISED_BY: dict[str, tuple[str, Callable[[Shapes], dict[str, object]]]] = {
    "intro.weight": ("nafnet", _nafnet),
    "prompt1.prompt_param": ("promptir", _restormer),
    "patch_embed.proj.weight": ("restormer", _restormer),
    "conv_first.weight": ("swinir", _swinir),
}
# Options that shapes do not determine, or only up to rounding.
FREE = {"num_heads", "window_size", "mlp_ratio", "ffn_expansion_factor"}


def classifier_sizes(tensors: Mapping[str, Tensor]) -> tuple[tuple[int, ...], int]:
    """Return the widths of the stages of a classifier and its number of classes.

    Raises ValueError for other tensors.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    stages = range(_children(shapes, "stages."))
    dims = tuple(_size(shapes, f"stages.{i}.blocks.0.conv1.weight", 0) for i in stages)
    return dims, _size(shapes, "linear.weight", 0)


def _size(shapes: Shapes, name: str, dim: int) -> int:
    if name not in shapes:
        raise ValueError(f"is incomplete: it lacks '{name}'")
    if dim >= len(shapes[name]):
        raise ValueError(f"has a '{name}' of the wrong shape {shapes[name]}")
    return shapes[name][dim]


def _children(shapes: Shapes, prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in shapes if name.startswith(prefix)})


def _expansion(sizes: Iterable[tuple[int, int]]) -> float:
    """Return the shortest decimal f with int(channels * f) == hidden for all (channels, hidden)."""
    pairs = set(sizes)
    ratios = [Fraction(hidden, channels) for channels, hidden in pairs if channels]
    lowest = max(ratios, default=Fraction(0))
    for digits in range(10):
        for step in (0, 1):  # in floating point the lowest itself can fall short: 0.57 * 100 < 57
            factor: float = (math.ceil(lowest * 10**digits) + step) / 10**digits
            if all(int(channels * factor) == hidden for channels, hidden in pairs):
                return factor
    raise ValueError("has feed-forward layers that no single expansion factor gives")
