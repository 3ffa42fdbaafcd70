"""Progress bar for work with a known number of steps."""

from collections.abc import Generator
from contextlib import closing
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from maskdcpt_cli.cli.console import is_interactive, message_console

Event = TypeVar("Event")


def track(
    events: Generator[Event, None, None], *, total: int, noun: str, quiet: bool
) -> Generator[Event, None, None]:
    """Yield the events, one per step, and show the progress on a terminal.

    Raises:
        KeyboardInterrupt: With a sentence on the progress so far.
    """
    done = 0
    console = message_console()
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
        expand=True,
        transient=True,
        disable=quiet or not is_interactive(console),
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
