"""Where measured figures stand in a table of the paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from maskdcpt_cli.benchmarking.published import METHOD, ROWS, Column, MetricValues, SetInfo, Table
from maskdcpt_cli.errors import MaskDCPTError, unknown
from maskdcpt_cli.scoring.metrics import METRICS


class SetResult(NamedTuple):
    """What was measured of a test set; without figures where nothing could be."""

    info: SetInfo
    figures: MetricValues  # the mean over its images, or a metric of all of them together
    images: int = 0
    expected: int | None = None  # images, where it is known
    failed: int = 0

    @property
    def complete(self) -> bool:
        return bool(self.figures) and not self.failed and self.expected in (None, self.images)


@dataclass(frozen=True)
class TableRow:
    """A row of one's own in a table of the paper."""

    table: Table
    ours: Mapping[str, MetricValues]  # by key of a column, of those where anything was measured
    remarks: tuple[str, ...]  # of columns whose figures are of fewer images than the paper's
    partial: frozenset[str]  # the keys of these columns
    beside: str  # the published row that ours is set beside

    def difference(self, column: Column, metric: str) -> float | None:
        """Ours less the published one."""
        ours = self.ours.get(column.key, {}).get(metric)
        theirs = self.table.rows[self.beside].get(column.key, {}).get(metric)
        return None if ours is None or theirs is None else ours - theirs

    def metrics(self) -> tuple[str, ...]:
        """Those that were measured, in the order of the paper."""
        found = (metric for column in self.table.columns for metric in column.metrics)
        measured = {metric for figures in self.ours.values() for metric in figures}
        return tuple(metric for metric in dict.fromkeys(found) if metric in measured)


def table_rows(
    tables: Sequence[Table], sets: Sequence[SetResult], *, model: str, beside: str = ""
) -> list[TableRow]:
    """Set measured test sets into tables.

    Args:
        model: whose published row it is set beside; of a model that has none, the best of the
            paper's own method, by the columns that were measured.
        beside: the row of another method, in the tables that have it.

    Raises MaskDCPTError for a row that no table has.
    """
    check_row(tables, beside)
    return [_stand(table, sets, model=model, beside=beside) for table in tables]


def check_row(tables: Sequence[Table], beside: str) -> None:
    """Raise MaskDCPTError for a row that no table has."""
    rows = {row for table in tables for row in table.rows}
    if beside and beside not in rows:
        raise MaskDCPTError(unknown("row", beside, rows))


def _stand(table: Table, sets: Sequence[SetResult], *, model: str, beside: str) -> TableRow:
    ours: dict[str, MetricValues] = {}
    remarks: list[str] = []
    partial: set[str] = set()
    for column in table.columns:
        covered = [one for one in sets if column.covers(one.info)]
        measured = [one for one in covered if one.figures]
        if not measured:
            continue
        ours[column.key] = _means(column, measured)
        if told := _told(covered):
            partial.add(column.key)
            remarks.append(f"{column.key}: {told}")
    chosen = beside if beside in table.rows else ROWS.get(model, {}).get(table.title)
    return TableRow(table, ours, tuple(remarks), frozenset(partial), chosen or _best(table, ours))


def _means(column: Column, measured: Sequence[SetResult]) -> MetricValues:
    """The mean over test sets, each counting the same however many images it has."""
    values = {m: [one.figures[m] for one in measured if m in one.figures] for m in column.metrics}
    return {metric: fmean(some) for metric, some in values.items() if some}


def _told(covered: Sequence[SetResult]) -> str:
    """Why the figures of a column are not of all that the paper's are of; empty where they are."""
    lacking = [one.info.name for one in covered if not one.figures]
    fewer = [one for one in covered if one.figures and not one.complete]
    parts = [f"without {', '.join(lacking)}"] if lacking else []
    parts += [
        f"{one.images} of {one.expected or one.images + one.failed} images of {one.info.name}"
        for one in fewer
    ]
    return "; ".join(parts)


def _best(table: Table, ours: Mapping[str, MetricValues]) -> str:
    columns = [column for column in table.columns if column.key in ours] or list(table.columns)

    def merit(row: str) -> float:
        figures = ((c.metrics[0], table.rows[row].get(c.key, {})) for c in columns)
        return fmean(METRICS[metric].goodness(cell.get(metric, 0.0)) for metric, cell in figures)

    return max((row for row in table.rows if METHOD in row), key=merit)
