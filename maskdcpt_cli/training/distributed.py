"""The processes that train together: a single one, or those that torchrun or srun started."""

import atexit
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from maskdcpt_cli.errors import BackendError
from maskdcpt_cli.training.launcher import Launch, launched, meeting_point, restarts

if sys.platform != "win32":
    import resource

T = TypeVar("T")
TIMEOUT = timedelta(minutes=20)  # for the slowest process: its data, or the files of the first one


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
    """Return whether this process is the first of those that train together, or the only one."""
    return launched().rank == 0


def restarted() -> bool:
    """Return whether torchrun restarted this process, after one of the processes had failed."""
    return restarts() > 0


def init_distributed(device: str | None = None) -> DistributedContext:
    """Join the processes that torchrun or srun started, or return the context of a single one.

    Args:
        device: as "cuda" or "cpu"; None: a GPU where there is one.

    Returns:
        The context of this process.

    Raises:
        BackendError: where there is no such device, or not one for each process.
    """
    launch = launched()
    local = _device(device, launch)
    if local.type == "cuda" and local.index is not None:
        torch.cuda.set_device(local)
    if launch.world_size == 1:
        return DistributedContext(local)
    if not dist.is_initialized():  # a process group can be initialized only once
        _join(launch, local)
        atexit.register(dist.destroy_process_group)
    return DistributedContext(local, dist.get_rank(), dist.get_world_size())


def _join(launch: Launch, local: torch.device) -> None:
    host, port = meeting_point()
    os.environ.update(MASTER_ADDR=host, MASTER_PORT=str(port))
    store, _, _ = next(dist.rendezvous("env://", launch.rank, launch.world_size, timeout=TIMEOUT))
    if local.type == "cuda":
        uuid = torch.cuda.get_device_properties(local).uuid
        check_devices(store, f"{socket.gethostname()} {uuid}", launch)
    dist.init_process_group(
        "nccl" if local.type == "cuda" else "gloo",
        store=store,
        rank=launch.rank,
        world_size=launch.world_size,
        timeout=TIMEOUT,
        device_id=local if local.type == "cuda" else None,
    )


def check_devices(store: dist.Store, name: str, launch: Launch) -> None:
    """Check that every process has a GPU of its own; `name` is that of this process's.

    Raises:
        BackendError: where two processes have the same.
    """
    store.set(f"maskdcpt/gpu/{launch.rank}", name)
    names = [store.get(f"maskdcpt/gpu/{rank}").decode() for rank in range(launch.world_size)]
    same = [rank for rank, one in enumerate(names) if one == name]
    if len(same) > 1:
        raise BackendError(
            f"Processes {', '.join(map(str, same))} have the same GPU ({name}): start as many "
            "processes as GPUs, or give each its own by CUDA_VISIBLE_DEVICES."
        )


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
def algorithms(device: torch.device, *, deterministic: bool) -> Iterator[None]:
    """Choose within the context between algorithms that repeat bit for bit and the fastest ones.

    On a GPU the fastest are those that cuDNN finds by trying all of them, once for each new shape.
    """
    benchmark = torch.backends.cudnn.benchmark
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    torch.backends.cudnn.benchmark = device.type == "cuda" and not deterministic
    if deterministic:  # PyTorch looks at the variable once, at the first matrix product
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = benchmark
        torch.use_deterministic_algorithms(was_deterministic)


def physical_memory() -> int:
    """Return the bytes of memory of this machine; 0 if unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _device(name: str | None, launch: Launch) -> torch.device:
    kind = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cuda":
        return torch.device("cuda", gpu_of(launch))
    if launch.world_size > 1 and kind.startswith("cuda:"):
        raise BackendError(
            f"--device {kind} is one GPU, and each of the {launch.world_size} processes takes one "
            "of its own: type --device cuda."
        )
    try:
        return torch.empty(0, device=kind).device
    except (RuntimeError, AssertionError) as error:
        raise BackendError(
            f"There is no device '{kind}' here: {str(error).splitlines()[0]}"
        ) from error


def gpu_of(launch: Launch) -> int:
    """Return the index of the GPU of this process among those that it sees."""
    visible, count = os.environ.get("CUDA_VISIBLE_DEVICES", ""), torch.cuda.device_count()
    one_each = launch.by == "srun" or ("," not in visible and visible != "")
    if launch.world_size > 1 and count == 1 and one_each:
        return 0
    if launch.local_rank >= count:
        raise BackendError(
            f"Process {launch.local_rank} of this machine has no GPU: there are {count}. "
            "Start as many processes as GPUs, or type --device cpu."
        )
    return launch.local_rank
