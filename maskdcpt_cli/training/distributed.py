"""The processes that train together: one alone, or those that torchrun started."""

import atexit
import os
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from maskdcpt_cli.errors import BackendError

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among those that train together."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes, which must all ask for it."""
        if self.size > 1:
            dist.all_reduce(values)
        return values / self.size

    def gather(self, mine: list[T]) -> list[T]:
        """The lists of all processes, one after another, on each of them."""
        if self.size == 1:
            return mine
        all_of_them: list[list[T]] = [[] for _ in range(self.size)]
        dist.all_gather_object(all_of_them, mine)
        return [item for part in all_of_them for item in part]


def is_main() -> bool:
    """Return whether this process is the first of torchrun's, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def restarted() -> bool:
    """Whether torchrun started this process again, after one of the processes had failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def join(device: str | None = None) -> World:
    """Join the processes that torchrun started, or be alone where it did not.

    Args:
        device: as "cuda" or "cpu"; None: a GPU where there is one.

    Raises BackendError where there is no such device, or not one for each process.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    place = _device(device, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
    if size == 1:
        return World(place)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    if not dist.is_initialized():  # torchrun's processes can meet only once
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    return World(place, dist.get_rank(), dist.get_world_size())


def _device(name: str | None, *, local_rank: int) -> torch.device:
    kind = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind != "cuda":
        try:
            return torch.empty(0, device=kind).device
        except (RuntimeError, AssertionError) as error:
            raise BackendError(
                f"There is no device '{kind}' here: {str(error).splitlines()[0]}"
            ) from error
    if local_rank >= torch.cuda.device_count():
        raise BackendError(
            f"Process {local_rank} of this machine has no GPU: {torch.cuda.device_count()} are "
            "here. Start as many processes as GPUs, or say --device cpu."
        )
    return torch.device("cuda", local_rank)
