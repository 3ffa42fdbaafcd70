"""Rows of measured figures for the tables of the paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from maskdcpt_cli.benchmarking.published import (
    METHOD,
    ROWS,
    Column,
    MetricValues,
    PaperTable,
    SetInfo,
)
from maskdcpt_cli.errors import MaskDCPTError, unknown
from maskdcpt_cli.scoring.metrics import METRICS


class SetResult(NamedTuple):
    """Result of a test set; without figures if nothing could be measured."""

    info: SetInfo
    figures: MetricValues  # mean over its images, or metric over the set
    images: int = 0
    expected: int | None = None  # images of the complete set, if known
    failed: int = 0

    @property
    def complete(self) -> bool:
        """Return whether every image of the set was measured."""
        return bool(self.figures) and not self.failed and self.expected in (None, self.images)


@dataclass(frozen=True)
class TableRow:
    """Measured row in a table of the paper."""

    table: PaperTable
    figures: Mapping[str, MetricValues]  # by key of a measured column
    remarks: tuple[str, ...]  # on columns with fewer images than the paper's
    partial: frozenset[str]  # the keys of these columns
    beside: str  # published row that the difference is to

    def difference(self, column: Column, metric: str) -> float | None:
        """Return the measured figure minus the published one; None if one of them is missing."""
        measured = self.figures.get(column.key, {}).get(metric)
        published = self.table.rows[self.beside].get(column.key, {}).get(metric)
        return None if measured is None or published is None else measured - published

    def metrics(self) -> tuple[str, ...]:
        """Return the measured metrics, in the order of the paper."""
        found = (metric for column in self.table.columns for metric in column.metrics)
        measured = {metric for figures in self.figures.values() for metric in figures}
        return tuple(metric for metric in dict.fromkeys(found) if metric in measured)


def table_rows(
    tables: Sequence[PaperTable], sets: Sequence[SetResult], *, model: str, beside: str = ""
) -> list[TableRow]:
    """Make a row for each published table.

    Args:
        tables: Published tables.
        sets: Results of the test sets.
        model: Its name; the difference is to its published row, or, if it has none, to the best row
            of the paper's own method in the measured columns.
        beside: Row to take the difference to instead, in the tables that have it.

    Raises:
        MaskDCPTError: If no table has the row `beside`.
    """
    check_row(tables, beside)
    return [_table_row(table, sets, model=model, beside=beside) for table in tables]


def check_row(tables: Sequence[PaperTable], beside: str) -> None:
    """Raise MaskDCPTError if `beside` is given and no table has such a row."""
    rows = {row for table in tables for row in table.rows}
    if beside and beside not in rows:
        raise MaskDCPTError(unknown("row", beside, rows))


def _table_row(
    table: PaperTable, sets: Sequence[SetResult], *, model: str, beside: str
) -> TableRow:
    figures: dict[str, MetricValues] = {}
    remarks: list[str] = []
    partial: set[str] = set()
    for column in table.columns:
        covered = [one for one in sets if column.covers(one.info)]
        measured = [one for one in covered if one.figures]
        if not measured:
            continue
        figures[column.key] = _means(column, measured)
        if note := _coverage_note(covered):
            partial.add(column.key)
            remarks.append(f"{column.key}: {note}")
    chosen = beside if beside in table.rows else ROWS.get(model, {}).get(table.title)
    return TableRow(
        table, figures, tuple(remarks), frozenset(partial), chosen or _best(table, figures)
    )


def _means(column: Column, measured: Sequence[SetResult]) -> MetricValues:
    """Return the mean over degradations, of each the mean over its test sets."""
    means: dict[str, float] = {}
    for metric in column.metrics:
        figures: dict[str | None, list[float]] = {}
        for one in measured:
            if metric in one.figures:
                figures.setdefault(one.info.degradation, []).append(one.figures[metric])
        if figures:
            means[metric] = fmean(map(fmean, figures.values()))
    return means


def _coverage_note(covered: Sequence[SetResult]) -> str:
    """Say which test sets or images of a column are missing; "" if it is complete."""
    missing = [one.info.name for one in covered if not one.figures]
    fewer = [one for one in covered if one.figures and not one.complete]
    parts = [f"without {', '.join(missing)}"] if missing else []
    parts += [
        f"{one.images} of {one.expected or one.images + one.failed} images of {one.info.name}"
        for one in fewer
    ]
    return "; ".join(parts)


def _best(table: PaperTable, figures: Mapping[str, MetricValues]) -> str:
    columns = [column for column in table.columns if column.key in figures] or list(table.columns)

    def merit(row: str) -> float:
        cells = ((c.metrics[0], table.rows[row].get(c.key, {})) for c in columns)
        return fmean(METRICS[metric].goodness(cell.get(metric, 0.0)) for metric, cell in cells)

    return max((row for row in table.rows if METHOD in row), key=merit)
