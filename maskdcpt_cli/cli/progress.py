"""A bar for work of which the number of steps is known."""

from collections.abc import Generator
from contextlib import closing
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

Event = TypeVar("Event")


def track(
    events: Generator[Event, None, None], *, total: int, noun: str, quiet: bool
) -> Generator[Event, None, None]:
    """Pass events on, one a step, and show on a terminal how far they came.

    Raises:
        KeyboardInterrupt: with the sentence that says how far the work came.
    """
    done = 0
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
        expand=True,
        transient=True,
        disable=quiet or not console.is_terminal or console.is_dumb_terminal,
    )
    try:
        with closing(events), progress:
            for event in progress.track(events, total=total, description=f"{noun}s"):
                yield event
                done += 1
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Interrupted: {done} of {total} {noun}s done; nothing half-written is left."
        ) from None
