"""The processes that train together: a single one, or those that torchrun started."""

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from maskdcpt_cli.errors import BackendError

if sys.platform != "win32":
    import resource

T = TypeVar("T")


@dataclass(frozen=True)
class DistributedContext:
    """This process among those that train together."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether it is the process that writes files."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over all processes, all of which must call this."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values / self.world_size

    def gather(self, items: list[T]) -> list[T]:
        """Return the lists of all processes, one after another, on each of them."""
        if self.world_size == 1:
            return items
        lists: list[list[T]] = [[] for _ in range(self.world_size)]
        dist.all_gather_object(lists, items)
        return [item for one in lists for item in one]


def is_main_process() -> bool:
    """Return whether this process is the first of torchrun's, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def restarted() -> bool:
    """Return whether torchrun restarted this process, after one of the processes had failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def init_distributed(device: str | None = None) -> DistributedContext:
    """Join the processes that torchrun started, or return the context of a single process.

    Args:
        device: as "cuda" or "cpu"; None: a GPU where there is one.

    Returns:
        The context of this process.

    Raises:
        BackendError: where there is no such device, or not one for each process.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    local = _device(device, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
    if world_size == 1:
        return DistributedContext(local)
    if local.type == "cuda":
        torch.cuda.set_device(local)
    if not dist.is_initialized():  # a process group can be initialized only once
        dist.init_process_group("nccl" if local.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    return DistributedContext(local, dist.get_rank(), dist.get_world_size())


def peak_memory(device: torch.device) -> int:
    """Return the peak bytes in use: of the GPU, else of the process; 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak_memory(device: torch.device) -> None:
    """Let the peak begin anew, where that can be done: on a GPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


@contextmanager
def cudnn_benchmark(device: torch.device, *, enabled: bool) -> Iterator[None]:
    """Let cuDNN try its algorithms for each new shape within the context, on a GPU."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or (enabled and device.type == "cuda")
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def physical_memory() -> int:
    """Return the bytes of memory of this machine; 0 if unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


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
            f"Process {local_rank} of this machine has no GPU: there are "
            f"{torch.cuda.device_count()}. Start as many processes as GPUs, or type --device cpu."
        )
    return torch.device("cuda", local_rank)
