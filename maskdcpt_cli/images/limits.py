"""Limits of time and memory on the reading of one file, in a process that may end by them.

A decoder that hangs cannot be interrupted from within its process: the system ends the process.
"""

import faulthandler
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

try:
    import resource
except ImportError:  # Windows: the clock alone limits
    resource = None  # type: ignore[assignment]  # a module elsewhere

# Of the processor, for the header, and again for the pixels. The slowest photos take 2.5 s per
# megapixel (PPM of 16 bits), most others less than 0.3 s; a disk that is slow takes none.
SECONDS = 60
SECONDS_PER_MEGAPIXEL = 10
CLOCK = 5  # times as long by the clock, for a decoder that waits for what never comes
# Beside what the process has. The largest photos take 120 bytes per pixel, the file included (TIFF
# of 64-bit floats with premultiplied alpha), most others less than 25.
MEMORY = 1 << 30
BYTES_PER_PIXEL = 256
COPIES = 4  # of the file's own bytes


class FileLimits:
    """The limits of this process.

    Args:
        report: Receives the name of each file before it is read, to be known if the process ends,
            and "" after it.
        clock: Let the clock limit, too, and SIGTERM end the process while a file is read.
    """

    def __init__(self, report: Callable[[str], None], *, clock: bool = True) -> None:
        self.report, self.clock = report, clock
        self._size = 0  # of the file, in bytes

    @contextmanager
    def on(self, name: str, size: int) -> Iterator[None]:
        """Apply the limits of the header of a file of `size` bytes; lift them at the end."""
        self.report(name)
        self._size = size
        stop = signal.signal(signal.SIGTERM, signal.SIG_DFL) if self.clock else None
        self.allow(0)
        try:
            yield
        finally:
            self._limit_time(None)
            _limit_memory(None)
            if self.clock:
                signal.signal(signal.SIGTERM, stop)
            self.report("")

    def allow(self, pixels: int) -> None:
        """Apply the limits of decoding so many pixels, from now on."""
        self._limit_time(SECONDS + math.ceil(SECONDS_PER_MEGAPIXEL * pixels / 1e6))
        _limit_memory(MEMORY + BYTES_PER_PIXEL * pixels + COPIES * self._size)

    def _limit_time(self, seconds: int | None) -> None:
        if self.clock:
            _limit_clock(None if seconds is None else CLOCK * seconds)
        if resource:
            used = math.ceil(time.process_time())
            _set_soft(resource.RLIMIT_CPU, None if seconds is None else used + seconds)


_of_process: ContextVar[FileLimits | None] = ContextVar("limits", default=None)


def limit_files(limits: FileLimits) -> None:
    """Let this process end where a file that it reads exceeds the limits."""
    _of_process.set(limits)
    if resource:
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with suppress(OSError):  # where memory runs out, Linux ends this process first
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


@contextmanager
def limited(name: str, size: int) -> Iterator[None]:
    """Apply the limits of the process, if it has any, while a file of `size` bytes is read."""
    limits = _of_process.get()
    if limits is None:
        yield
        return
    with limits.on(name, size):
        yield


def allow(pixels: int) -> None:
    """Let the process, if it has limits, decode so many pixels."""
    if limits := _of_process.get():
        limits.allow(pixels)


def _limit_clock(seconds: int | None) -> None:
    if resource:
        signal.alarm(seconds or 0)
    elif seconds is None:
        faulthandler.cancel_dump_traceback_later()
    else:  # the one timer there that needs no interpreter, which a decoder may hold
        faulthandler.dump_traceback_later(seconds, exit=True)


def _limit_memory(more: int | None) -> None:
    if resource is None:
        return
    if more is None:
        _set_soft(resource.RLIMIT_DATA, None)
        return
    with suppress(OSError):  # other systems than Linux do not count what is mapped
        used = int(Path("/proc/self/statm").read_bytes().split()[5]) * os.sysconf("SC_PAGE_SIZE")
        _set_soft(resource.RLIMIT_DATA, used + more)


def _set_soft(limit: int, value: int | None) -> None:
    module: Any = resource
    hard = module.getrlimit(limit)[1]
    if value is None or (hard != module.RLIM_INFINITY and value > hard):
        value = hard
    module.setrlimit(limit, (value, hard))
