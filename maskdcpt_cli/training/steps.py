"""The iterations of a run, from their launch on the device to their outcome."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class StepResult(NamedTuple):
    """The outcome of an iteration."""

    losses: Mapping[str, float]  # over all ranks
    accuracy: float | None
    updated: bool  # whether the weights changed: not when anything was NaN or infinite
    overflowed: bool  # whether they did not because the scaled gradient exceeds fp16's range
    at_fault: bool  # whether this rank's part of the batch was the reason
    stop: bool  # whether any rank requests to stop


@dataclass(frozen=True)
class LaunchedStep:
    """An iteration that the device may still be computing."""

    iteration: int
    lr: float
    names: tuple[str, ...]  # of the losses
    values: Tensor  # their means over all ranks, whether one stops; this rank's loss; the norm
    done: torch.cuda.Event | None = None  # after which `values`, in host memory, are valid

    def read(self) -> list[float]:
        """Wait for the values."""
        if self.done:
            self.done.synchronize()
        values: list[float] = self.values.tolist()
        return values


def fetch(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Begin to copy values to the host; return where they will be, and what to wait for."""
    if values.device.type != "cuda":
        return values, None
    fetched = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    fetched.copy_(values, non_blocking=True)
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record(torch.cuda.current_stream(values.device))
    return fetched, done
