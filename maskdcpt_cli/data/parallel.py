"""Work on many files in several processes."""

import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from types import FrameType
from typing import NoReturn, TypeVar

import cv2

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.images.heap import keep_freed_memory
from maskdcpt_cli.images.workers import KILLED, WorkerLost, WorkerPool, lent

Item = TypeVar("Item")
Result = TypeVar("Result")
# What to return for an item whose process was lost; called with a function that tries another one.
Lost = Callable[[Item, WorkerLost, Callable[[Item], Result]], Result]

PREFETCH = 4  # items that wait for each process; bounds the memory that results take
TOO_MANY = "A worker process was killed, perhaps for lack of memory; try fewer --jobs."


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_processes(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    jobs: int,
    lost: "Lost[Item, Result] | None" = None,
    pool: WorkerPool | None = None,
) -> Generator[Result, None, None]:
    """Yield the function's result for each item, in order, computed by `jobs` processes.

    The function must be importable by its name, items and results small. Closing the generator
    (Ctrl-C closes it) stops the processes at once. Where a file ends the process that reads it, or
    the system ends it, the item's result is that of `lost`. The processes are those of `pool`; None
    starts them.

    Raises MaskDCPTError when a process ends otherwise, or without `lost`.
    """
    waiting: deque[Future[Result]] = deque()
    # The processes are closed first: a thread that waits for one ends then.
    with _threads(jobs) as threads, lent(pool, partial(WorkerPool, __name__)) as workers:
        call = partial(_call, workers, function, lost)
        for number, item in enumerate(items, 1):
            workers.start(min(number, jobs))
            waiting.append(threads.submit(call, item))
            if len(waiting) >= jobs * PREFETCH:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def _threads(count: int) -> Generator[ThreadPoolExecutor, None, None]:
    threads = ThreadPoolExecutor(count)
    try:
        yield threads
    finally:
        threads.shutdown(cancel_futures=True)


def _call(
    pool: WorkerPool,
    function: Callable[[Item], Result],
    lost: "Lost[Item, Result] | None",
    item: Item,
) -> Result:
    try:
        return pool.call(_prepared, function, item)
    except WorkerLost as error:
        killed = error.status == KILLED and not pool.is_closed
        if lost is not None and (error.file or killed):
            return lost(item, error, partial(_call, pool, function, lost))
        if error.file:
            raise
        raise MaskDCPTError(TOO_MANY) from error


def _prepared(function: Callable[[Item], Result], item: Item) -> Result:
    _prepare()
    return function(item)


@cache
def _prepare() -> None:
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
