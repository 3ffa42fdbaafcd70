"""Optimizer steps, with the same result on any number of processes."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from math import isfinite

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.utils.checkpoint import checkpoint

from maskdcpt_cli.data.mixture import Sample, to_float
from maskdcpt_cli.data.order import local_part
from maskdcpt_cli.errors import CheckpointError
from maskdcpt_cli.models.layers import BlockSequence
from maskdcpt_cli.out_of_memory import is_out_of_memory
from maskdcpt_cli.presets.training import Run
from maskdcpt_cli.training.checkpointing import RunProgress, State
from maskdcpt_cli.training.compiling import compile_model
from maskdcpt_cli.training.distributed import DistributedContext
from maskdcpt_cli.training.ema import ExponentialAverage
from maskdcpt_cli.training.losses import Losses
from maskdcpt_cli.training.optimizer import (
    build_optimizer,
    freeze,
    parameter_groups,
    set_lr,
    without_blocks,
)
from maskdcpt_cli.training.stages import stage_index
from maskdcpt_cli.training.steps import LaunchedStep, StepResult, fetch
from maskdcpt_cli.training.task import Task, fork_seed, options_of
from maskdcpt_cli.weights.checkpoint import Checkpoint

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Trainer:
    """A task in training, and the state that it resumes from."""

    def __init__(
        self, task: Task, run: Run, *, distributed: DistributedContext, micro_batch: int | None
    ) -> None:
        """Prepare the model, the optimizer and the averages.

        Args:
            task: to be trained.
            run: its settings.
            distributed: this process among all.
            micro_batch: images that go through the network at once, their gradients adding up to
                that of the batch; None: a rank's whole batch.

        Raises:
            MaskDCPTError: for parameters that cannot be frozen, and for settings that act on blocks
                of a backbone without them.
        """
        freeze(task.backbone, run.optimizer.freeze)
        self.task = task
        self.run = run
        self.distributed = distributed
        self.micro_batch = micro_batch
        self.layout = torch.channels_last if run.training.channels_last else torch.contiguous_format
        device = distributed.device
        task.model.train().to(device)
        for part in task.model.modules():
            if isinstance(part, nn.Conv2d):  # other parameters' gradients have their own layout
                part.to(memory_format=self.layout)
        self.groups = parameter_groups(task.backbone, task.decoders(), run)
        self.parameters = [p for group in self.groups for p in group.parameters]
        self.optimizer = build_optimizer(self.groups, run.optimizer)
        self.scaler = torch.amp.GradScaler(device.type, enabled=run.training.precision == "fp16")
        decay = run.training.ema
        self.ema = None if decay is None else ExponentialAverage(task.model, decay=decay)
        self.progress = RunProgress()
        self.overflowed_in_a_row = 0  # iterations of fp16
        self.deferred = device.type == "cuda"  # whether steps are not waited for
        self.consistent = True  # False during an update
        if run.training.checkpointing:
            if not block_sequences(task.backbone):
                raise without_blocks("training.checkpointing", run.backbone)
            recompute_activations(task.model)
        if run.training.compile:
            compile_model(task.model, run.training)
        self.wrapped = self._wrap(task.model)

    def _wrap(self, model: nn.Module) -> nn.Module:
        if self.distributed.world_size == 1:
            return model
        device = self.distributed.device
        device_ids = [device] if device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=device_ids, gradient_as_bucket_view=True)

    def step(self, batch: Sample, *, stop: bool = False) -> LaunchedStep:
        """Train on this rank's part of an iteration's batch; on a GPU, without waiting for it.

        When the loss of any rank, or the gradient, is NaN or infinite, no rank changes its weights.

        Args:
            batch: of this rank.
            stop: whether this rank requests to stop.

        Returns:
            The iteration, for `finish`.
        """
        set_lr(self.optimizer, self.groups, self.progress.iteration)
        with fork_seed(self._seed()):
            own = self._accumulate(batch)
        total = own["total"]
        values = torch.stack([*own.values(), total.new_full((), float(stop))])
        means = self.distributed.mean(values)
        self.consistent = False
        norm = self._update_weights(means[0])
        self.optimizer.zero_grad()
        self.progress.iteration += 1
        self.consistent = True
        values, done = fetch(torch.cat([means, torch.stack([total, norm.to(total)])]))
        lr: float = self.optimizer.param_groups[0]["lr"]
        return LaunchedStep(self.progress.iteration, lr, tuple(own), values, done)

    def finish(self, step: LaunchedStep) -> StepResult:
        """Wait for an iteration, and count it; its outcome is the same on all ranks but `at_fault`.

        Iterations are finished in their order, and all of them before a state is saved.
        """
        *means, stopping, own_total, norm = step.read()
        losses = dict(zip(step.names, means, strict=True))
        finite_loss = isfinite(losses["total"])
        updated = finite_loss and isfinite(norm)
        overflowed = finite_loss and not updated and self.scaler.is_enabled()
        own_loss = self._weight(step.iteration - 1) > 0 and not isfinite(own_total)
        at_fault = not updated and not overflowed and (finite_loss or own_loss)
        self._count(updated=updated, overflowed=overflowed)
        accuracy = losses.pop("accuracy", None)
        return StepResult(losses, accuracy, updated, overflowed, at_fault, stop=stopping > 0)

    def _count(self, *, updated: bool, overflowed: bool) -> None:
        self.progress.skipped += not updated
        self.overflowed_in_a_row = self.overflowed_in_a_row + 1 if overflowed else 0
        if not overflowed:  # an overflow says nothing about the losses before and after it
            in_a_row = self.progress.skipped_in_a_row
            self.progress.skipped_in_a_row = 0 if updated else in_a_row + 1

    def _accumulate(self, batch: Sample) -> dict[str, Tensor]:
        """Accumulate the gradients of a batch; return its losses and accuracy, of this rank.

        Both are weighted so that the mean over ranks is that over the images of all ranks.
        """
        pieces = list(_pieces(batch, self.micro_batch or len(batch.lq)))
        weight = self._weight(self.progress.iteration)
        sums: dict[str, Tensor] = {}
        for number, piece in enumerate(pieces, 1):
            fraction = weight * len(piece.lq) / len(batch.lq)
            with self._without_sync() if number < len(pieces) else nullcontext():
                losses = self._losses(piece)
                torch.autograd.backward(self.scaler.scale(losses.total * fraction))
            for name, value in _named(losses).items():
                sums[name] = sums.get(name, 0) + value.detach() * fraction
        return sums

    def _weight(self, iteration: int) -> float:
        """Return how many images of a batch this rank has, relative to the mean over ranks."""
        stages, world = self.run.training.stages, self.distributed.world_size
        batch = stages[stage_index(stages, iteration)].batch
        return len(local_part(batch, rank=self.distributed.rank, world=world)) * world / batch

    def _seed(self) -> int:
        """Return the seed of random layers, a function of seed, rank and iteration."""
        key = (self.run.training.seed, self.distributed.rank, self.progress.iteration)
        return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])

    def _losses(self, piece: Sample) -> Losses:
        device, pinned = self.distributed.device, piece.lq.is_pinned()
        lq, gt = (
            to_float(image.to(device, non_blocking=pinned).contiguous(memory_format=self.layout))
            for image in (piece.lq, piece.gt)
        )
        label, present, request = (
            tensor.to(device, non_blocking=pinned)
            for tensor in (piece.label, piece.present, piece.request)
        )
        moved = piece._replace(lq=lq, gt=gt, label=label, present=present, request=request)
        with self.autocast():
            return self.task.losses(self.wrapped, moved)

    def _without_sync(self) -> AbstractContextManager[None]:
        """Postpone the exchange of gradients with the other ranks."""
        if isinstance(self.wrapped, DistributedDataParallel):
            return self.wrapped.no_sync()
        return nullcontext()

    def autocast(self) -> torch.autocast:
        precision = PRECISIONS[self.run.training.precision]
        enabled = precision != torch.float32
        return torch.autocast(self.distributed.device.type, dtype=precision, enabled=enabled)

    def _update_weights(self, loss: Tensor) -> Tensor:
        """Update the weights if the loss and the gradient are finite; return the gradient's norm.

        Where the result is not waited for, the optimizer decides on the device.
        """
        self.scaler.unscale_(self.optimizer)
        norm = get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        finite = loss.isfinite() & norm.isfinite()
        if self.deferred or finite:
            if self.run.optimizer.clip is not None:
                clip_grads_with_norm_(self.parameters, self.run.optimizer.clip, norm)
            if self.deferred:  # as GradScaler tells a fused optimizer
                self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
            self.optimizer.step()
            if self.ema:
                self.ema.update(self.task.model, when=finite)
        self.scaler.update()
        return norm

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Set the model to evaluation, with its averaged weights, until the context is left."""
        model = self.task.model.eval()
        # Validation images come one by one: to compile for them, too, would take minutes.
        eager = torch.compiler.set_stance("force_eager")
        with self.with_ema_weights(), torch.no_grad(), self.autocast(), eager:
            yield
        model.train()

    @contextmanager
    def with_ema_weights(self) -> Iterator[None]:
        """Give the model its averaged weights, if it has any, until the context is left."""
        self._swap_ema_weights()
        try:
            yield
        finally:
            self._swap_ema_weights()

    def _swap_ema_weights(self) -> None:
        if self.ema:
            averages = self.ema.parameters.values()
            for own, average in zip(self.task.model.parameters(), averages, strict=True):
                own.data, average.data = average.data, own.data

    def checkpoint(self) -> Checkpoint:
        """Return the weights for use."""
        with self.with_ema_weights():
            return replace(
                self.task.checkpoint(),
                temperature=self.progress.temperature,
                thresholds=self.progress.thresholds,
                crop_size=self._crop_size(),
            )

    def state(self) -> State:
        return {
            **self._identity(),
            **self.progress.counters(),
            "model": dict(self.task.model.state_dict()),
            "averages": self.ema.parameters if self.ema else {},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load(self, state: State, *, name: str) -> None:
        """Restore a state, from a file of this name.

        Raises:
            CheckpointError: when it is the state of another kind of run.
        """
        for key, own in self._identity().items():
            if state.get(key) != own:
                raise CheckpointError(
                    f"{name} is of a run whose {key} is {state.get(key)}, here it is {own}; "
                    "resume with the preset of that run, or take another --run-dir."
                )
        try:
            self._load(state)
        except (RuntimeError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            raise CheckpointError(
                f"{name} does not fit what the preset trains: {' '.join(str(error).split())} "
                "Resume with the heads, layer_decay and freeze of that run."
            ) from error
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{name} is not the state of a run of maskdcpt; take another --run-dir."
            ) from error

    def _load(self, state: State) -> None:
        self.task.model.load_state_dict(state["model"])
        # "optimiser" is the key in states of earlier versions.
        self.optimizer.load_state_dict(state.get("optimizer") or state["optimiser"])
        averages = state["averages"] or state["model"]
        for key, average in (self.ema.parameters if self.ema else {}).items():
            average.copy_(averages[key])
        self.scaler.load_state_dict(state["scaler"])
        counters = {key: state[key] for key in asdict(self.progress) if key in state}
        if counters.get("best") is not None and not isfinite(counters["best"]):
            del counters["best"]  # of an earlier version
        self.progress = RunProgress(**counters)  # earlier states lack some

    def state_bytes(self) -> int:
        """Return the approximate size of a state: weights, averages, and AdamW's two moments."""
        trained: int = sum(parameter.nbytes for parameter in self.parameters)
        return self.weights_bytes() * (2 if self.ema else 1) + 2 * trained

    def weights_bytes(self) -> int:
        """Return the size of the model's weights."""
        return sum(tensor.nbytes for tensor in self.task.model.state_dict().values())

    def _crop_size(self) -> int:
        """Return the crop size of the last iteration's stage."""
        stages = self.run.training.stages
        return stages[stage_index(stages, self.progress.iteration - 1)].crop_size

    def _identity(self) -> dict[str, str]:
        options = options_of(self.task.backbone)
        return {
            "kind": self.task.name,
            "backbone": f"{self.run.backbone} with {options}",
            "order of labels": " ".join(self.task.labels),
        }


def recompute_activations(model: nn.Module) -> None:
    """Recompute the activations of each block in the backward pass, which saves memory."""
    for stage in block_sequences(model):
        for block in stage.blocks:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def block_sequences(model: nn.Module) -> list[BlockSequence]:
    """Return the stages of blocks of a model."""
    return [part for part in model.modules() if isinstance(part, BlockSequence)]


def _named(losses: Losses) -> dict[str, Tensor]:
    accuracy = {} if losses.accuracy is None else {"accuracy": losses.accuracy}
    return {"total": losses.total, **losses.parts, **accuracy}


def _pieces(batch: Sample, size: int) -> Iterator[Sample]:
    for start in range(0, len(batch.lq), size):
        yield Sample._make(
            [*(tensor[start : start + size] for tensor in batch[:-1]), batch.skipped]
        )
