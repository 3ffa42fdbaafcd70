"""AdamW, with a rate of its own for each part of a model."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.optim import AdamW

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.models.layers import BlockSequence
from maskdcpt_cli.presets.training import Optimiser, Phase, Run
from maskdcpt_cli.training.schedule import rate_at


class Group(NamedTuple):
    """Parameters that learn at one rate."""

    parameters: list[nn.Parameter]
    phases: tuple[Phase, ...]
    scale: float = 1.0  # of the rates


def freeze(backbone: Backbone, beginnings: Sequence[str]) -> None:
    """Parameters whose names begin so keep their values.

    Raises MaskDCPTError for a beginning that no name has.
    """
    for beginning in beginnings:
        found = [p for name, p in backbone.named_parameters() if name.startswith(beginning)]
        if not found:
            parts = ", ".join(name for name, _ in backbone.named_children())
            raise MaskDCPTError(
                f"No parameter's name begins with '{beginning}', which should be frozen. "
                f"The parts of the network are {parts}."
            )
        for parameter in found:
            parameter.requires_grad_(False)


def parameter_groups(backbone: Backbone, decoders: Iterable[nn.Parameter], run: Run) -> list[Group]:
    """What learns, in groups: the backbone's stages, the last one first, and the decoders.

    A stage's rate is `layer_decay` times that of the stage after it (as BEiT fine-tunes, Bao et
    al., 2022); the last one that learns has the full rate.
    """
    depths, layer_decay = stage_depths(backbone), run.optimiser.layer_decay
    stages: dict[int, list[nn.Parameter]] = {}
    for name, parameter in backbone.named_parameters():
        if parameter.requires_grad:
            depth = next(depths[unit] for unit in depths if name.startswith(f"{unit}."))
            stages.setdefault(depth if layer_decay < 1 else 0, []).append(parameter)
    last = max(stages, default=0)
    groups = [
        Group(stages[depth], run.phases, layer_decay ** (last - depth))
        for depth in sorted(stages, reverse=True)
    ]
    if parameters := list(decoders):
        groups.append(Group(parameters, run.decoder_phases))
    if not groups:
        raise MaskDCPTError("Everything is frozen: there is nothing to train.")
    return groups


def stage_depths(backbone: Backbone) -> dict[str, int]:
    """The parts of a backbone and how many stages of blocks come before each.

    The order is that of a restoration, which is run on a tiny image and watched.
    """
    order: list[str] = []
    hooks = [
        unit.register_forward_pre_hook(lambda _unit, _x, name=name: order.append(name))
        for name, unit in _units(backbone)
    ]
    side = backbone.size_multiple
    device = next(backbone.parameters()).device
    with torch.no_grad():
        backbone(torch.zeros(1, 3, side, side, device=device))
    for hook in hooks:
        hook.remove()
    depths: dict[str, int] = {}
    depth = 0
    for name in order:
        depths[name] = depth
        depth += any(
            isinstance(part, BlockSequence) for part in backbone.get_submodule(name).modules()
        )
    return depths


def _units(backbone: Backbone) -> Iterable[tuple[str, nn.Module]]:
    """The children of a backbone, and in place of a list its items."""
    for name, child in backbone.named_children():
        if isinstance(child, nn.ModuleList):
            yield from ((f"{name}.{place}", item) for place, item in child.named_children())
        else:
            yield name, child


def build_optimiser(groups: Sequence[Group], how: Optimiser) -> AdamW:
    """AdamW over the groups; set_rates gives it its rates."""
    return AdamW(
        [{"params": group.parameters} for group in groups],
        betas=how.betas,
        weight_decay=how.weight_decay,
        fused=True,
    )


def set_rates(optimiser: AdamW, groups: Sequence[Group], iteration: int) -> None:
    """Give every group its rate for an iteration."""
    for held, group in zip(optimiser.param_groups, groups, strict=True):
        held["lr"] = group.scale * rate_at(group.phases, iteration)
