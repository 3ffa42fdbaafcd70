"""What is seen of a benchmark: progress on standard error, tables on standard output."""

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from maskdcpt_cli.benchmarking.run import Event, ImageFailed, ImageScored, SetFinished, SetStarted
from maskdcpt_cli.benchmarking.table_rows import SetResult, TableRow
from maskdcpt_cli.benchmarking.test_sets import MissingTestSet, TestSet, title
from maskdcpt_cli.cli.benchmark.tables import (
    PARTIAL,
    WORDS,
    BenchmarkReport,
    Block,
    RowRole,
    blocks,
    measured_lines,
    stated,
)
from maskdcpt_cli.cli.console import count, printable
from maskdcpt_cli.scoring.events import Unavailable

STYLES: dict[RowRole, str] = {
    "published": "", "beside": "cyan", "ours": "bold", "difference": "italic",
}  # fmt: skip
GAP = 2  # between columns, of which the box takes one
LOGGED = 200  # columns of what goes to a file or pipe


class BenchmarkView:
    """A line for each test set, and for what failed; on a terminal a bar below them."""

    def __init__(self, sets: Sequence[TestSet | MissingTestSet], limit: int | None) -> None:
        self.console = Console(stderr=True, highlight=False, emoji=False)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            console=self.console,
            expand=True,
            transient=True,
            disable=not self.console.is_terminal or self.console.is_dumb_terminal,
        )
        images = sum(min(len(one), limit or len(one)) for one in sets if isinstance(one, TestSet))
        self.task = self.progress.add_task("", total=images)

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(Text(printable(text)), soft_wrap=True)

    def event(self, event: Event) -> None:
        """Something happened."""
        match event:
            case SetStarted():
                self.progress.start()
                self.progress.update(self.task, description=printable(event.testset.title))
                if event.cached:
                    cached = f"{event.cached} of {count(event.images, 'image')}"
                    self.say(f"{event.testset.title}: {cached} read from earlier results")
            case ImageScored():
                self.progress.advance(self.task)
            case ImageFailed():
                self.say(f"{event.testset.title}: {event.name}: {event.reason}")
            case Unavailable():
                self.say(event.reason)
            case SetFinished() if not event.reason:  # what is not there is told at the end
                self.say(_told(event.result))

    def close(self) -> None:
        """Leave the terminal as it was."""
        self.progress.stop()


class BenchmarkOutcome(NamedTuple):
    """What a benchmark came to."""

    closed: tuple[SetFinished, ...]
    values: Mapping[tuple[str, str], Mapping[str, float]]  # by key of a test set, and image
    problems: tuple[str, ...]  # why an image or a test set was not measured
    unavailable: tuple[str, ...]  # why a metric was not

    @property
    def whole(self) -> bool:
        """Whether nothing was left out."""
        return not (self.problems or self.unavailable)


def show(events: Generator[Event, None, None], view: BenchmarkView) -> BenchmarkOutcome:
    """Show a benchmark as it happens.

    Raises:
        KeyboardInterrupt: with the sentence that says how far it came.
    """
    closed: list[SetFinished] = []
    values: dict[tuple[str, str], Mapping[str, float]] = {}
    problems: dict[str, None] = {}
    unavailable: dict[str, None] = {}
    try:
        with closing(view), closing(events):
            for event in events:
                view.event(event)
                match event:
                    case ImageScored():
                        values[event.testset.key, event.name] = event.values
                    case Unavailable():
                        unavailable[event.reason] = None
                    case SetFinished():
                        closed.append(event)
                if isinstance(event, (ImageFailed, SetFinished)) and event.reason:
                    problems[event.reason] = None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Interrupted: {count(len(values), 'image')} measured and kept; the same command "
            "goes on from here."
        ) from None
    return BenchmarkOutcome(tuple(closed), values, tuple(problems), tuple(unavailable))


def print_tables(report: BenchmarkReport) -> None:
    """Print the tables of the paper with our row, what was measured, and what was not."""
    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = LOGGED
    for table_row in report.measured_rows:
        _print_table_row(console, table_row, model=report.model)
    heads, rows = measured_lines([one.result for one in report.closed])
    if rows:
        table = _table(heads, left=sum(head in WORDS for head in heads))
        for row in rows:
            table.add_row(*map(printable, row))
        console.print(Text(printable(report.title), style="bold"))
        console.print(table)
        for sentence in (*report.notes, report.facts["Protocol"]):
            console.print(Text(printable(sentence), style="dim"))
    for one in report.closed:
        if one.reason:
            console.print(Text(printable(f"Not measured: {_not_measured(one)}")), soft_wrap=True)


def _print_table_row(console: Console, table_row: TableRow, *, model: str) -> None:
    for block in blocks(table_row, model=model):
        for columns in _fitting(block, console.width):
            console.print(Text(f"{block.title}", style="bold"))
            table = _table(["", *(_head(block, index) for index in columns)], left=1)
            for line in block.lines:
                cells = [line.cells[index] for index in columns]
                table.add_row(line.name, *cells, style=STYLES[line.role])
            console.print(table)
            console.print()
    paper, beside = table_row.table.title, table_row.beside
    lines = [f"{paper}: {table_row.table.caption}. The difference is to {beside}."]
    lines += [table_row.table.note] if table_row.table.note else []
    lines += [f"{PARTIAL} {remark}" for remark in table_row.remarks]
    for sentence in lines:
        console.print(Text(printable(sentence), style="dim"))
    console.print()


def _fitting(block: Block, width: int) -> Iterator[list[int]]:
    """The columns in as few tables as fit the width, columns of one group kept together."""
    name = max(len(line.name) for line in block.lines)
    widths = [
        max(
            map(
                len,
                (*_head(block, index).split("\n"), *(line.cells[index] for line in block.lines)),
            )
        )
        for index in range(len(block.heads))
    ]
    taken: list[int] = []
    for group in _grouped(block.groups):
        wanted = name + sum(widths[index] + GAP for index in (*taken, *group))
        if taken and wanted > width:
            yield taken
            taken = []
        taken = [*taken, *group]
    yield taken


def _grouped(groups: Sequence[str]) -> list[list[int]]:
    """The indices of columns, those of one group together."""
    indices: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        indices.setdefault(group or f"{index}", []).append(index)
    return list(indices.values())


def _head(block: Block, index: int) -> str:
    """The head of a column, below that of its group; two long words below one another."""
    group, head = block.groups[index], block.heads[index]
    return f"{group}\n{head}" if group else head.replace(" ", "\n")


def _table(heads: Sequence[str], *, left: int) -> Table:
    """A table whose first columns hold words, and the others figures."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index < left else "right", no_wrap=True)
    return table


def _told(measured: SetResult) -> str:
    figures = (stated(metric, value) for metric, value in measured.figures.items())
    images = count(measured.images, "image")
    return f"{title(measured.info)}: {', '.join((images, *figures))}"


def _not_measured(closed: SetFinished) -> str:
    return f"{title(closed.result.info)}: {closed.reason}."
