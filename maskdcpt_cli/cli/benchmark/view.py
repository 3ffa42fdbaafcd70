"""Terminal output of a benchmark: progress on standard error, tables on standard output."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from maskdcpt_cli.benchmarking.run import Event, ImageFailed, ImageScored, SetFinished, SetStarted
from maskdcpt_cli.benchmarking.table_rows import SetResult, TableRow
from maskdcpt_cli.benchmarking.test_sets import key, title
from maskdcpt_cli.cli.benchmark.tables import (
    PARTIAL,
    TEXT_HEADS,
    BenchmarkReport,
    Block,
    RowRole,
    blocks,
    measured_lines,
    with_name,
)
from maskdcpt_cli.cli.console import (
    count,
    data_console,
    is_interactive,
    message_console,
    plain_table,
    say,
)
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.files import shown
from maskdcpt_cli.scoring.events import Unavailable

STYLES: dict[RowRole, str] = {
    "published": "", "beside": "cyan", "ours": "bold", "difference": "italic",
}  # fmt: skip
GAP = 2  # between columns


class BenchmarkView:
    """Progress display: a line for each test set and failure, and a progress bar on a terminal."""

    def __init__(self, sets: Sequence[ImageSet], limit: int | None) -> None:
        self.console = message_console()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            console=self.console,
            expand=True,
            transient=True,
            disable=not is_interactive(self.console),
        )
        images = sum(min(len(one), limit or len(one)) for one in sets)
        self.task = self.progress.add_task("", total=images)

    def event(self, event: Event) -> None:
        """Show an event."""
        match event:
            case SetStarted():
                self.progress.start()
                self.progress.update(self.task, description=shown(title(event.testset)))
                if event.cached:
                    cached = f"{event.cached} of {count(event.images, 'image')}"
                    say(self.console, f"{title(event.testset)}: {cached} read from earlier results")
            case ImageScored():
                self.progress.advance(self.task)
            case ImageFailed():
                say(self.console, f"{title(event.testset)}: {event.name}: {event.reason}")
            case Unavailable():
                say(self.console, event.reason)
            case SetFinished() if not event.reason:  # missing sets are listed at the end
                say(self.console, _result_line(event.result))

    def close(self) -> None:
        """Remove the progress bar."""
        self.progress.stop()


class BenchmarkOutcome(NamedTuple):
    """Outcome of a benchmark."""

    finished: tuple[SetFinished, ...]
    values: Mapping[
        tuple[str, str], Mapping[str, float]
    ]  # by key of a test set and name of an image
    problems: tuple[str, ...]  # why an image or a test set was not measured
    unavailable: tuple[str, ...]  # why a metric was not

    @property
    def complete(self) -> bool:
        """Return whether everything was measured."""
        return not (self.problems or self.unavailable)


def show(events: Generator[Event, None, None], view: BenchmarkView) -> BenchmarkOutcome:
    """Show the events of a benchmark and return its outcome.

    Raises:
        KeyboardInterrupt: with a message that states the progress.
    """
    finished: list[SetFinished] = []
    values: dict[tuple[str, str], Mapping[str, float]] = {}
    problems: dict[str, None] = {}
    unavailable: dict[str, None] = {}
    try:
        with closing(view), closing(events):
            for event in events:
                view.event(event)
                match event:
                    case ImageScored():
                        values[key(event.testset), event.name] = event.values
                    case Unavailable():
                        unavailable[event.reason] = None
                    case SetFinished():
                        finished.append(event)
                if isinstance(event, (ImageFailed, SetFinished)) and event.reason:
                    problems[event.reason] = None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Interrupted: {count(len(values), 'image')} measured and saved; the same command "
            "resumes here."
        ) from None
    return BenchmarkOutcome(tuple(finished), values, tuple(problems), tuple(unavailable))


def print_tables(report: BenchmarkReport) -> None:
    """Print the tables of the paper with the measured row, all figures, and what is missing."""
    console = data_console()
    for table_row in report.measured_rows:
        _print_table_row(console, table_row, model=report.model)
    heads, rows = measured_lines([one.result for one in report.finished])
    if rows:
        table = plain_table(*heads, right=[head for head in heads if head not in TEXT_HEADS])
        for row in rows:
            table.add_row(*map(shown, row))
        console.print(Text(shown(report.title), style="bold"))
        console.print(table)
        for sentence in (*report.notes, report.facts["Protocol"]):
            console.print(Text(shown(sentence), style="dim"))
    for one in report.finished:
        if one.reason:
            console.print(Text(shown(f"Not measured: {_not_measured(one)}")), soft_wrap=True)


def _print_table_row(console: Console, table_row: TableRow, *, model: str) -> None:
    for block in blocks(table_row, model=model):
        for columns in _fitting(block, console.width):
            console.print(Text(f"{block.title}", style="bold"))
            heads = [_head(block, index) for index in columns]
            table = plain_table("", *heads, right=heads)
            for line in block.lines:
                cells = [line.cells[index] for index in columns]
                table.add_row(shown(line.name), *cells, style=STYLES[line.role])
            console.print(table)
            console.print()
    paper, beside = table_row.table.title, table_row.beside
    lines = [f"{paper}: {table_row.table.caption}. The difference is to {beside}."]
    lines += [table_row.table.note] if table_row.table.note else []
    lines += [f"{PARTIAL} {remark}" for remark in table_row.remarks]
    for sentence in lines:
        console.print(Text(shown(sentence), style="dim"))
    console.print()


def _fitting(block: Block, width: int) -> Iterator[list[int]]:
    """Split the columns into as few tables as fit the width, without splitting a group."""
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
        needed = name + sum(widths[index] + GAP for index in (*taken, *group))
        if taken and needed > width:
            yield taken
            taken = []
        taken = [*taken, *group]
    yield taken


def _grouped(groups: Sequence[str]) -> list[list[int]]:
    """Return the indices of the columns of each group."""
    indices: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        indices.setdefault(group or f"{index}", []).append(index)
    return list(indices.values())


def _head(block: Block, index: int) -> str:
    """Return the head of a column, below its group; words in lines of their own."""
    group, head = block.groups[index], block.heads[index]
    return f"{group}\n{head}" if group else head.replace(" ", "\n")


def _result_line(measured: SetResult) -> str:
    figures = (with_name(metric, value) for metric, value in measured.figures.items())
    images = count(measured.images, "image")
    return f"{title(measured.info)}: {', '.join((images, *figures))}"


def _not_measured(finished: SetFinished) -> str:
    return f"{title(finished.result.info)}: {finished.reason}."
