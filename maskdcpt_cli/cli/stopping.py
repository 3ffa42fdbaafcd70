"""Ctrl-C and SIGTERM as a request, so that the current step is finished first."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130  # exit code


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Let both signals only request a stop; yield a function that returns whether one did.

    A second Ctrl-C interrupts at once, but not under torchrun, which passes the first one on to
    processes that have it already.
    """
    alone = "TORCHELASTIC_RUN_ID" not in os.environ
    requested: list[int] = []

    def request(number: int, _frame: FrameType | None) -> None:
        if alone and number == signal.SIGINT and number in requested:
            raise KeyboardInterrupt
        requested.append(number)

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(requested)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
