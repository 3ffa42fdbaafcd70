"""Ctrl-C and SIGTERM as a wish, so that what is in hand is finished first."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130  # exit code


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Within, both only ask to stop; what comes tells whether they did.

    A second Ctrl-C interrupts at once, but not under torchrun, which passes the first one on to
    processes that have it already.
    """
    alone = "TORCHELASTIC_RUN_ID" not in os.environ
    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        if alone and number == signal.SIGINT and number in asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
