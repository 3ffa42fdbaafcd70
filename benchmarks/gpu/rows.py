"""A row of the table: a function with a budget of time, which measures one kind of work."""

import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from types import FrameType
from typing import NamedTuple, NoReturn

import torch

MIN_ROUNDS, MAX_ROUNDS = 3, 30  # of a measurement, as far as its budget goes


class Bench(NamedTuple):
    """The conditions under which a row measures."""

    device: torch.device
    quick: bool  # small sizes, to try the rows on a CPU
    seconds: float  # the budget of the row

    def size(self, full: int, small: int) -> int:
        """Return a number of pixels, images or repetitions: the full one, or that to try out."""
        return small if self.quick else full


class Line(NamedTuple):
    """A line of the table."""

    work: str  # as "NAFNet-64, 1024x1024"
    way: str  # as "eager, fp32, NCHW" or "ours, fp16"
    figure: str  # as "64.6 ms" or "2500 crops/s"
    speed_up: float | None = None  # over eager PyTorch in the same run
    goal: str = ""  # as "3x eager"
    met: bool | None = None  # whether the goal is reached, or the check of numbers passed


@dataclass(frozen=True)
class Row:
    """Some lines of the table, measured together."""

    name: str  # for --only
    seconds: float  # budget; what is longer is stopped
    measure: Callable[[Bench], Iterable[Line]]


class OutOfTime(BaseException):  # no handler of errors on the way may take it
    """The budget of a row is used up."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise OutOfTime within the context after so many seconds, where the system has alarms."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def timed(
    cases: Mapping[str, Callable[[], object]], bench: Bench, *, fraction: float = 1.0
) -> dict[str, float]:
    """Return the median seconds of each case, until the device is done.

    Rounds are interleaved. They go on for a fraction of the row's budget, of which the first call
    of each case, which compiles and warms up, is not counted.
    """
    for case in cases.values():
        seconds_of(case, bench.device)
    taken: dict[str, list[float]] = {name: [] for name in cases}
    end = time.perf_counter() + fraction * bench.seconds
    for number in range(1 if bench.quick else MAX_ROUNDS):
        if number >= MIN_ROUNDS and time.perf_counter() > end:
            break
        for name, case in cases.items():
            taken[name].append(seconds_of(case, bench.device))
    return {name: median(seconds) for name, seconds in taken.items()}


def seconds_of(case: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call, until the device is done."""
    synchronise(device)
    began = time.perf_counter()
    case()
    synchronise(device)
    return time.perf_counter() - began


def synchronise(device: torch.device) -> None:
    """Wait for all work on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def run_row(row: Row, bench: Bench) -> Iterator[Line]:
    """Yield the lines of a row; a row that fails or is too slow says so in a line of its own."""
    try:
        with time_limit(bench.seconds):
            yield from row.measure(bench)
    except OutOfTime:
        yield Line(row.name, "", f"stopped after {bench.seconds:.0f} s")
    except Exception as error:  # the other rows are worth their time
        reason = " ".join(str(error).split()) or type(error).__name__
        yield Line(row.name, "", f"failed: {reason[:300]}", met=False)
    finally:
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()
