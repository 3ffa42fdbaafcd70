"""Work on many files in several processes."""

import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import wait
from types import FrameType
from typing import NoReturn, TypeVar

import cv2

from maskdcpt_cli.errors import MaskDCPTError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Of mallopt(3): M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD, in bytes.
_MALLOC = {-3: 2**30, -1: 2**30, -2: 2**26}
PATIENCE = 10  # seconds that a process has to leave
PREFETCH = 4  # items that wait for each process; bounds the memory that results take


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], *, jobs: int
) -> Generator[Result, None, None]:
    """Yield the function's result for each item, in order, computed by `jobs` processes.

    The function must be importable by its name, items and results small. Closing the generator
    (Ctrl-C closes it) stops the processes at once. With one job everything runs in this process.

    Raises MaskDCPTError when a process was killed, as for want of memory.
    """
    if jobs == 1:
        yield from map(function, items)
        return
    # A fresh interpreter: a fork would copy locks that this process' threads may hold.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_start)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            with _interrupts_held():  # a process that starts inherits this
                waiting.append(pool.submit(function, item))
            if len(waiting) >= jobs * PREFETCH:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        pool.shutdown()  # terminated, idle ones may complain of half a message
    except BrokenProcessPool as error:
        raise MaskDCPTError(
            "A worker process was killed, perhaps for lack of memory; try fewer --jobs."
        ) from error
    finally:
        _stop(pool)


@contextmanager
def _interrupts_held() -> Generator[None, None, None]:
    """Hold Ctrl-C back, where the system can, until the end."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start() -> None:
    prepare_worker()
    signal.signal(signal.SIGTERM, _leave)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit  # so that half-written files are removed


def prepare_worker(_number: int = 0) -> None:
    """Configure this process as one of several that process images in parallel."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which stops us
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    # As many workers as cores: threads of theirs would only compete. 0, as 1 hangs after a fork.
    cv2.setNumThreads(0)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next image.

    Faulting its pages in again takes a quarter of the time of most degradations.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if mallopt := getattr(libc, "mallopt", None):
        for parameter, value in _MALLOC.items():
            mallopt(parameter, value)


def _stop(pool: ProcessPoolExecutor) -> None:
    processes = list((pool._processes or {}).values())  # public from Python 3.14 on
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:  # until they have removed what they had half written
        wait([process.sentinel], timeout=PATIENCE)
