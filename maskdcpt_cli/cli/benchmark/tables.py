"""Tables of a benchmark as text in cells, shared by the terminal, Markdown and the page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import strftime
from typing import Literal, NamedTuple

from maskdcpt_cli.benchmarking.examples import ExampleCrop
from maskdcpt_cli.benchmarking.published import Column
from maskdcpt_cli.benchmarking.run import SetFinished
from maskdcpt_cli.benchmarking.table_rows import SetResult, TableRow
from maskdcpt_cli.benchmarking.test_sets import title
from maskdcpt_cli.cli.console import count
from maskdcpt_cli.degradations import slug
from maskdcpt_cli.scoring.metrics import find_metric

RowRole = Literal["published", "beside", "ours", "difference"]

DIGITS = {"ssim": 3, "lpips": 3}  # as in the paper; two for its other metrics
NO_FIGURE = "\N{EN DASH}"
TEXT_HEADS = ("test set", "degradation")  # heads of columns of text
PARTIAL = "*"  # marks figures of fewer images than the paper's


@dataclass(frozen=True)
class BenchmarkReport:
    """Contents of the tables, files and page of a benchmark."""

    name: str  # of the preset, photos or pairs
    model: str
    facts: Mapping[str, str]  # network, protocol and so on
    table_rows: tuple[TableRow, ...]
    finished: tuple[SetFinished, ...]
    examples: Mapping[str, Sequence[tuple[ExampleCrop, Mapping[str, float]]]]  # by title of a set
    notes: tuple[str, ...] = ()  # a sentence each

    @property
    def title(self) -> str:
        """Title of the page: model and test sets."""
        return f"{self.model} on {self.name}"

    @property
    def measured_rows(self) -> list[TableRow]:
        """Rows with at least one measured figure."""
        return [table_row for table_row in self.table_rows if table_row.figures]


class CellRow(NamedTuple):
    """Row of a table as text."""

    name: str
    cells: tuple[str, ...]
    role: RowRole = "published"


class Block(NamedTuple):
    """Table of one metric, part of a table of the paper."""

    title: str
    metric: str
    groups: tuple[str, ...]  # heading above each column; "" for none
    heads: tuple[str, ...]
    lines: tuple[CellRow, ...]

    @property
    def full_heads(self) -> tuple[str, ...]:
        """Heads with the group of each column."""
        pairs = zip(self.groups, self.heads, strict=True)
        return tuple(f"{group} {head}".lstrip() for group, head in pairs)


def blocks(table_row: TableRow, *, model: str) -> Iterator[Block]:
    """Yield a table of the paper with the measured row, one block for each metric."""
    for metric in table_row.metrics():
        columns = [column for column in table_row.table.columns if metric in column.metrics]
        yield Block(
            f"{table_row.table.title}, {metric_name(metric)}",
            metric,
            tuple(column.group for column in columns),
            tuple(column.title for column in columns),
            tuple(_lines(table_row, columns, metric, model)),
        )


def facts(report: BenchmarkReport) -> dict[str, str]:
    """Return the conditions of the figures."""
    images = sum(one.result.images for one in report.finished)
    sets = sum(bool(one.result.figures) for one in report.finished)
    measured = f"{count(images, 'image')} of {count(sets, 'test set')}"
    return {**report.facts, "Measured": measured, "Date": strftime("%Y-%m-%d")}


def remarks(table_row: TableRow) -> Iterator[str]:
    """Yield the sentences below a table of the paper."""
    yield f"The difference is to the published row {table_row.beside}."
    if table_row.table.note:
        yield table_row.table.note
    yield from (f"{PARTIAL} {remark}" for remark in table_row.remarks)


def measured_lines(sets: Sequence[SetResult]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the heads and rows of the measured figures, a row for each test set."""
    sets = [one for one in sets if one.figures]
    metrics = list(dict.fromkeys(metric for one in sets for metric in one.figures))
    columns = {"test set": [title(one.info) for one in sets]}
    if any(one.info.degradation for one in sets):
        columns["degradation"] = [slug(one.info.degradation or "") for one in sets]
    columns["images"] = [f"{one.images}" for one in sets]
    for metric in metrics:
        columns[metric_name(metric)] = [exact(metric, one.figures.get(metric)) for one in sets]
    return tuple(columns), list(zip(*columns.values(), strict=True))


def metric_name(metric: str) -> str:
    """Return a name such as "PSNR, dB", with an arrow down if lower is better."""
    known = find_metric(metric)
    unit = f", {known.unit}" if known.unit else ""
    arrow = "" if known.higher_is_better else " \N{DOWNWARDS ARROW}"
    return f"{metric.upper()}{unit}{arrow}"


def with_name(metric: str, value: float) -> str:
    """Return text such as "PSNR 31.41 dB"."""
    return f"{metric.upper()} {find_metric(metric).shown(value)}"


def figure(metric: str, value: float | None, *, sign: bool = False) -> str:
    """Format a figure with the digits of the paper."""
    if value is None:
        return NO_FIGURE
    return f"{value:{'+' if sign else ''}.{DIGITS.get(metric, 2)}f}"


def exact(metric: str, value: float | None) -> str:
    """Format a figure with the digits of `maskdcpt score`."""
    if value is None:
        return NO_FIGURE
    return f"{value:.{find_metric(metric).digits}f}"


def better(metric: str, difference: float) -> bool:
    """Return whether a difference of this sign is an improvement."""
    return find_metric(metric).goodness(difference) > 0


def _lines(
    table_row: TableRow, columns: Sequence[Column], metric: str, model: str
) -> Iterator[CellRow]:
    for method, cells in table_row.table.rows.items():
        figures = (cells.get(column.key, {}).get(metric) for column in columns)
        role: RowRole = "beside" if method == table_row.beside else "published"
        yield CellRow(method, tuple(figure(metric, value) for value in figures), role)
    ours = [
        _star(table_row, column) + figure(metric, table_row.figures.get(column.key, {}).get(metric))
        for column in columns
    ]
    yield CellRow(f"{model} (ours)", tuple(ours), "ours")
    differences = (table_row.difference(column, metric) for column in columns)
    cells_of_difference = tuple(figure(metric, value, sign=True) for value in differences)
    yield CellRow("difference", cells_of_difference, "difference")


def _star(table_row: TableRow, column: Column) -> str:
    return PARTIAL if column.key in table_row.partial else ""
