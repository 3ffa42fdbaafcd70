"""AdamW and the learning rate schedule, for each part of a model."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.optim import AdamW

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.models.layers import BlockSequence
from maskdcpt_cli.presets.optimizer import LRSchedule, LRSegment, Optimizer
from maskdcpt_cli.presets.training import Run

PROBE_SIDE = 64  # pixels at least, of the image that the order of the stages is observed on
PROBE_MULTIPLES = 4  # of size_multiple, at least: a position of the coarsest map is not alone


class ParameterGroup(NamedTuple):
    """Parameters that have the same learning rate."""

    parameters: list[nn.Parameter]
    segments: tuple[LRSegment, ...]
    scale: float = 1.0  # of the learning rate


def freeze(backbone: Backbone, prefixes: Sequence[str]) -> None:
    """Freeze the parameters whose names begin with one of the prefixes.

    Raises:
        MaskDCPTError: for a prefix that no name has.
    """
    for prefix in prefixes:
        frozen = [p for name, p in backbone.named_parameters() if name.startswith(prefix)]
        if not frozen:
            parts = ", ".join(name for name, _ in backbone.named_children())
            raise MaskDCPTError(
                f"No parameter's name begins with '{prefix}', which should be frozen. "
                f"The parts of the network are {parts}."
            )
        for parameter in frozen:
            parameter.requires_grad_(False)


def parameter_groups(
    backbone: Backbone, decoders: Iterable[nn.Parameter], run: Run
) -> list[ParameterGroup]:
    """Return the trained parameters in groups: the backbone's stages from the last, the decoders.

    A stage's learning rate is `layer_decay` times that of the stage after it (as BEiT fine-tunes,
    Bao et al., 2022); the last one that is trained has the full rate.

    Raises:
        MaskDCPTError: where all parameters are frozen, and for a `layer_decay` of a backbone that
            has no stage of blocks before another part.
    """
    layer_decay = run.optimizer.layer_decay
    depths = stage_depths(backbone) if layer_decay < 1 else {}
    if layer_decay < 1 and not any(depths.values()):
        raise without_blocks("optimizer.layer_decay", run.backbone)
    stages: dict[int, list[nn.Parameter]] = {}
    for name, parameter in backbone.named_parameters():
        if parameter.requires_grad:
            depth = next((depths[unit] for unit in depths if name.startswith(f"{unit}.")), 0)
            stages.setdefault(depth, []).append(parameter)
    last = max(stages, default=0)
    groups = [
        ParameterGroup(stages[depth], run.lr_segments, layer_decay ** (last - depth))
        for depth in sorted(stages, reverse=True)
    ]
    if parameters := list(decoders):
        groups.append(ParameterGroup(parameters, run.decoder_lr_segments))
    if not groups:
        raise MaskDCPTError("All parameters are frozen: there is nothing to train.")
    return groups


def stage_depths(backbone: Backbone) -> dict[str, int]:
    """Return for each part of a backbone how many stages of blocks come before it.

    The order is that of the forward pass, observed on a small image in evaluation, which leaves
    the statistics of norms as they are.
    """
    order: list[str] = []
    hooks = [
        unit.register_forward_pre_hook(lambda _unit, _x, name=name: order.append(name))
        for name, unit in _units(backbone)
    ]
    multiple, training = backbone.size_multiple, backbone.training
    side = max(PROBE_MULTIPLES, -(-PROBE_SIDE // multiple)) * multiple
    device = next(backbone.parameters()).device
    backbone.eval()
    with torch.no_grad():
        backbone(torch.zeros(1, 3, side, side, device=device))
    backbone.train(training)
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


def without_blocks(option: str, backbone: str) -> MaskDCPTError:
    """Return the error for an option that finds no blocks of a backbone."""
    return MaskDCPTError(
        f"{option} has no effect on the backbone {backbone}, in which no stage of blocks "
        "(BlockSequence of maskdcpt_cli.models.layers) comes before another part: leave it out, or "
        "put the blocks of each stage into one."
    )


def _units(module: nn.Module, above: str = "") -> Iterable[tuple[str, nn.Module]]:
    """Yield the children of a module, and in place of a list its items."""
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList):
            yield from _units(child, f"{above}{name}.")
        else:
            yield f"{above}{name}", child


def build_optimizer(groups: Sequence[ParameterGroup], settings: Optimizer) -> AdamW:
    """Build AdamW over the groups; set_lr sets its learning rates."""
    return AdamW(
        [{"params": group.parameters} for group in groups],
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def set_lr(optimizer: AdamW, groups: Sequence[ParameterGroup], iteration: int) -> None:
    """Set the learning rate of every group for an iteration."""
    for param_group, group in zip(optimizer.param_groups, groups, strict=True):
        param_group["lr"] = group.scale * lr_at(group.segments, iteration)


def segment_at(segments: Sequence[LRSegment], iteration: int) -> LRSegment:
    """Return the segment of an iteration; the last one, after the run's end."""
    return next((segment for segment in segments if iteration < segment.end), segments[-1])


def lr_at(segments: Sequence[LRSegment], iteration: int) -> float:
    """Return the learning rate: constant, or from `after` on half a cosine down to `final`.

    SGDR (Loshchilov & Hutter, 2017), Eq. 5; a segment restarts it. During the warm-up it is the
    fraction of that which has passed (Goyal et al., 2017, Sec. 2.2).
    """
    begin, end, schedule = segment_at(segments, iteration)
    warmed = min(1.0, (iteration - begin + 1) / schedule.warm_up) if schedule.warm_up else 1.0
    return warmed * _scheduled(begin, end, schedule, iteration)


def _scheduled(begin: int, end: int, schedule: LRSchedule, iteration: int) -> float:
    if schedule.final is None or iteration - begin <= schedule.after:
        return schedule.initial
    progress = (iteration - begin - schedule.after) / (end - begin - schedule.after)
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return schedule.final + (schedule.initial - schedule.final) * cosine
