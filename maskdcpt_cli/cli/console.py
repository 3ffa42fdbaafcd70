"""Consoles of all commands: data on standard output, messages on standard error."""

import sys
from collections.abc import Container

from rich.console import Console
from rich.table import Table
from rich.text import Text

from maskdcpt_cli.files import shown

LOG_WIDTH = 200  # columns in a file or pipe: a line per row, for grep


def data_console(*, width: int = LOG_WIDTH) -> Console:
    """Return the console for data; in a file or pipe it has this width."""
    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = width
    return console


def message_console() -> Console:
    """Return the console for messages and progress."""
    return Console(file=sys.stderr, highlight=False, emoji=False, markup=False)


def is_interactive(console: Console) -> bool:
    """Return whether the console is a terminal that can redraw lines."""
    return console.is_terminal and not console.is_dumb_terminal


def say(console: Console, text: str, *, style: str = "") -> None:
    """Print a message; in a file or pipe in one line."""
    line = Text(shown(text), style=style)
    console.print(line, soft_wrap=not console.is_terminal)


def plain_table(
    *heads: str, right: Container[str] = (), wraps: Container[str] = (), show_heads: bool = True
) -> Table:
    """Return a table without rules.

    Args:
        heads: Heads of the columns.
        right: Heads of the columns that are aligned to the right.
        wraps: Heads of the columns whose text may take several lines.
        show_heads: False for a table without a line of heads.
    """
    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
        header_style="bold",
        show_header=show_heads,
    )
    for head in heads:
        table.add_column(
            head,
            justify="right" if head in right else "left",
            no_wrap=head not in wraps,
            overflow="fold",
        )
    return table


def count(number: int, noun: str) -> str:
    """Return the number with its noun, as "1,200 images"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Format seconds as hours and minutes, minutes and seconds, or seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
