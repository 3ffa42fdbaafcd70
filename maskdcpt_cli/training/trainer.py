"""One optimiser step after another, on any number of processes with the same result."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import accumulate
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.utils.checkpoint import checkpoint

from maskdcpt_cli.data.mixture import Sample
from maskdcpt_cli.errors import CheckpointError
from maskdcpt_cli.models.layers import BlockSequence
from maskdcpt_cli.presets.training import Run
from maskdcpt_cli.training.checkpointing import State
from maskdcpt_cli.training.distributed import World
from maskdcpt_cli.training.ema import MovingAverage
from maskdcpt_cli.training.losses import Losses
from maskdcpt_cli.training.optimizer import build_optimiser, freeze, parameter_groups, set_rates
from maskdcpt_cli.training.task import Task, options_of
from maskdcpt_cli.weights.checkpoint import Checkpoint

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Stepped(NamedTuple):
    """What became of a batch."""

    losses: Mapping[str, float]  # over all ranks
    accuracy: float | None
    taken: bool  # whether the weights were changed: not when anything was NaN or infinite
    at_fault: bool  # whether this rank's part of the batch was the reason
    stop: bool  # whether any rank wants to


class Trainer:
    """A task in training, and all that it is continued from."""

    def __init__(self, task: Task, run: Run, *, world: World, micro_batch: int | None) -> None:
        """Raises MaskDCPTError for what cannot be frozen.

        `micro_batch` images go through the network at once, None: a rank's whole batch. Their
        gradients add up to that of the batch.
        """
        freeze(task.backbone, run.optimiser.freeze)
        self.task = task
        self.run = run
        self.world = world
        self.micro_batch = micro_batch
        self.layout = torch.channels_last if run.training.channels_last else torch.contiguous_format
        task.model.train().to(world.device)
        for part in task.model.modules():
            if isinstance(
                part, nn.Conv2d
            ):  # other parameters' gradients have a layout of their own
                part.to(memory_format=self.layout)
        self.groups = parameter_groups(task.backbone, task.decoders(), run)
        self.parameters = [p for group in self.groups for p in group.parameters]
        self.optimiser = build_optimiser(self.groups, run.optimiser)
        self.scaler = torch.amp.GradScaler(
            world.device.type, enabled=run.training.precision == "fp16"
        )
        decay = run.training.ema
        self.average = None if decay is None else MovingAverage(task.model, decay=decay)
        self.iteration = 0  # how many are done
        self.skipped = 0  # of them
        self.skipped_in_a_row = 0
        self.best: float | None = None  # mean score of a validation
        self.validated_at = 0  # iteration
        self.temperature: float | None = None  # of the classifier, by the last validation
        self.whole = True  # not in the midst of a change
        if run.training.checkpointing:
            recompute_activations(task.model)
        if run.training.compile:
            task.model.compile(dynamic=False)
        self.wrapped = self._wrap(task.model)

    def _wrap(self, model: nn.Module) -> nn.Module:
        if self.world.size == 1:
            return model
        device_ids = [self.world.device] if self.world.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=device_ids, gradient_as_bucket_view=True)

    def step(self, batch: Sample, *, stop: bool = False) -> Stepped:
        """Learn from this rank's part of an iteration's batch.

        When the loss of any rank, or the gradient, is NaN or infinite, no rank changes anything
        but its count of iterations. fp16's gradients may overflow, which its scale then adapts to.
        """
        set_rates(self.optimiser, self.groups, self.iteration)
        mine = self._accumulate(batch)
        values = torch.stack([*mine.values(), mine["total"].new_tensor(float(stop))])
        *means, wanted_stop = self.world.mean(values).tolist()
        losses = dict(zip(mine, means, strict=True))
        taken = isfinite(losses["total"])
        self.whole = False
        taken = taken and self._descend()
        if taken and self.average:
            self.average.update()
        self.optimiser.zero_grad()
        self.iteration += 1
        self.skipped += not taken
        self.skipped_in_a_row = 0 if taken else self.skipped_in_a_row + 1
        self.whole = True
        at_fault = not taken and (isfinite(losses["total"]) or not isfinite(mine["total"].item()))
        accuracy = losses.pop("accuracy", None)
        return Stepped(losses, accuracy, taken, at_fault, stop=wanted_stop > 0)

    def _accumulate(self, batch: Sample) -> dict[str, Tensor]:
        """Gather the gradients of a batch; its losses and accuracy, of this rank."""
        pieces = list(_pieces(batch, self.micro_batch or len(batch.lq)))
        sums: dict[str, Tensor] = {}
        for place, piece in enumerate(pieces, 1):
            share = len(piece.lq) / len(batch.lq)
            with self._alone() if place < len(pieces) else nullcontext():
                losses = self._losses(piece)
                torch.autograd.backward(self.scaler.scale(losses.total * share))
            for name, value in _named(losses).items():
                sums[name] = sums.get(name, 0) + value.detach() * share
        return sums

    def _losses(self, piece: Sample) -> Losses:
        device, pinned = self.world.device, piece.lq.is_pinned()
        moved = piece._replace(
            lq=piece.lq.to(device, non_blocking=pinned, memory_format=self.layout),
            gt=piece.gt.to(device, non_blocking=pinned, memory_format=self.layout),
            label=piece.label.to(device, non_blocking=pinned),
        )
        with self.autocast():
            return self.task.losses(self.wrapped, moved)

    def _alone(self) -> AbstractContextManager[None]:
        """Within, gradients are not yet exchanged with the other ranks."""
        if isinstance(self.wrapped, DistributedDataParallel):
            return self.wrapped.no_sync()
        return nullcontext()

    def autocast(self) -> torch.autocast:
        precision = PRECISIONS[self.run.training.precision]
        enabled = precision != torch.float32
        return torch.autocast(self.world.device.type, dtype=precision, enabled=enabled)

    def _descend(self) -> bool:
        """Take the step, if the gradient allows it."""
        self.scaler.unscale_(self.optimiser)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = get_total_norm(gradients)
        if not self.scaler.is_enabled() and not norm.isfinite():
            return False
        if self.run.optimiser.clip is not None:
            clip_grads_with_norm_(self.parameters, self.run.optimiser.clip, norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return True

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Within, the model has the weights that it is used with, and only looks at images."""
        model = self.task.model.eval()
        # Validation images come one by one: to compile for them, too, would take minutes.
        eager = torch.compiler.set_stance("force_eager")
        with self.averaged(), torch.no_grad(), self.autocast(), eager:
            yield
        model.train()

    def averaged(self) -> AbstractContextManager[None]:
        """Within, the model has the weights that it is used with."""
        return self.average.in_place() if self.average else nullcontext()

    def checkpoint(self) -> Checkpoint:
        """The weights that the model is used with."""
        with self.averaged():
            return replace(
                self.task.checkpoint(), temperature=self.temperature, crop_size=self._crop_size()
            )

    def state(self) -> State:
        return {
            **self._identity(),
            "iteration": self.iteration,
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
            "best": self.best,
            "validated_at": self.validated_at,
            "temperature": self.temperature,
            "model": dict(self.task.model.state_dict()),
            "averages": dict(self.average.averages) if self.average else {},
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load(self, state: State, *, name: str) -> None:
        """Be as the run was when its state was saved, to a file of this name.

        Raises CheckpointError when it was another kind of run.
        """
        for what, mine in self._identity().items():
            if state.get(what) != mine:
                raise CheckpointError(
                    f"{name} is of a run whose {what} is {state.get(what)}, here it is {mine}; "
                    "go on with the preset that the run was begun with, or take another --run-dir."
                )
        try:
            self.task.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{name} does not fit what the preset trains: {' '.join(str(error).split())} "
                "Go on with the heads, layer_decay and freeze that the run was begun with."
            ) from error
        if self.average:
            self.average.load(state["averages"] or state["model"])
        self.scaler.load_state_dict(state["scaler"])
        self.iteration = state["iteration"]
        self.skipped = state["skipped"]
        self.skipped_in_a_row = state["skipped_in_a_row"]
        self.best = state["best"]
        self.validated_at = state["validated_at"]
        self.temperature = state.get("temperature")  # runs were begun before there was one

    def state_bytes(self) -> int:
        """How large a state is, nearly: the weights, their average, and AdamW's two moments."""
        weights: int = sum(tensor.nbytes for tensor in self.task.model.state_dict().values())
        learning: int = sum(parameter.nbytes for parameter in self.parameters)
        return weights * (2 if self.average else 1) + 2 * learning

    def _crop_size(self) -> int:
        """Of the stage that the last iteration was of."""
        stages = self.run.training.stages
        ends = accumulate(stage.iterations for stage in stages[:-1])
        return stages[sum(end < self.iteration for end in ends)].crop_size

    def _identity(self) -> dict[str, str]:
        options = options_of(self.task.backbone)
        return {
            "kind": self.task.name,
            "backbone": f"{self.run.backbone} with {options}",
            "order of labels": " ".join(self.task.labels),
        }


def recompute_activations(model: nn.Module) -> None:
    """Let the backward pass compute the inside of each block anew, which saves its memory."""
    for stage in model.modules():
        if isinstance(stage, BlockSequence):
            for block in stage.blocks:
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def _named(losses: Losses) -> dict[str, Tensor]:
    accuracy = {} if losses.accuracy is None else {"accuracy": losses.accuracy}
    return {"total": losses.total, **losses.parts, **accuracy}


def _pieces(batch: Sample, size: int) -> Iterator[Sample]:
    for start in range(0, len(batch.lq), size):
        lq, gt, label, number = (tensor[start : start + size] for tensor in batch[:4])
        yield Sample(lq, gt, label, number, batch.skipped)
