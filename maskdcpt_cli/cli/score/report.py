"""Report of a score as data: bounds, JSON and CSV."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from maskdcpt_cli.cli.csv_file import write_csv as write_rows
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.scoring.events import Item, Scored, Unavailable
from maskdcpt_cli.scoring.metrics import Metric
from maskdcpt_cli.scoring.pairing import Pairing
from maskdcpt_cli.scoring.protocols import Protocol
from maskdcpt_cli.scoring.summary import Summary

DIGITS = 6  # after the point, in files: more than the precision of pyiqa's float32


class Bound(NamedTuple):
    """Lower or upper bound of the mean of a metric."""

    metric: str
    option: Literal["min", "max"]
    value: float

    def holds(self, mean: float) -> bool:
        """Return whether a mean is within the bound."""
        return mean >= self.value if self.option == "min" else mean <= self.value


class ScoreReport(NamedTuple):
    """Options and results of a score."""

    pred: Path
    gt: Path | None
    pairing: Pairing
    protocol: Protocol
    metrics: Mapping[str, Metric]
    scored: tuple[Scored, ...]  # in the order of the pairing's items
    summaries: tuple[Summary, ...]
    unavailable: tuple[Unavailable, ...]
    bounds: tuple[Bound, ...]
    max_pixels: int | None = MAX_PIXELS

    def mean(self, metric: str) -> float | None:
        """Return the mean of a metric; None if it was not measured."""
        return next((one.mean for one in self.summaries if one.metric == metric), None)

    def broken(self) -> list[str]:
        """Return a sentence for each bound that does not hold."""
        sentences = []
        for bound in self.bounds:
            mean, metric = self.mean(bound.metric), self.metrics[bound.metric]
            option = f"--{bound.option} {bound.metric}={bound.value:g}"
            if mean is None:
                sentences.append(f"{bound.metric} was not measured, so {option} does not hold.")
            elif not bound.holds(mean):
                side = "below" if bound.option == "min" else "above"
                sentences.append(
                    f"{bound.metric} is {_apart(metric, mean, bound)}, {side} {option}."
                )
        return sentences

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each image with a problem, and a sentence on it."""
        for one in self.scored:
            if one.problem:
                yield one.name, one.problem
            for sentence in one.failed.values():
                yield one.name, sentence

    @property
    def failed(self) -> bool:
        """Return whether something was not measured or a bound does not hold."""
        return bool(
            self.pairing.missing or self.unavailable or self.broken() or any(self.problems())
        )


def _apart(metric: Metric, mean: float, bound: Bound) -> str:
    """Format a mean with enough digits to differ from the bound."""
    for digits in range(metric.digits, DIGITS):
        if float(f"{mean:.{digits}f}") != bound.value:
            return metric._replace(digits=digits).shown(mean)
    return metric._replace(digits=DIGITS).shown(mean)


def as_json(report: ScoreReport) -> dict[str, object]:
    """Return the report as JSON; the keys are stable."""
    return {
        "pred": str(report.pred),
        "gt": report.gt and str(report.gt),
        "protocol": {"name": report.protocol.name, "text": report.protocol.describe()},
        "paired": report.pairing.rule or None,
        "metrics": {one.metric: _summary(report, one) for one in report.summaries},
        "images": [
            _image(item, one) for item, one in zip(report.pairing.items, report.scored, strict=True)
        ],
        "without_gt": [str(path) for path in report.pairing.missing],
        "unused_gt": [str(path) for path in report.pairing.extra],
        "unavailable": {one.metric: one.reason for one in report.unavailable},
        "out_of_bounds": report.broken(),
        "failed": report.failed,
    }


def _summary(report: ScoreReport, one: Summary) -> dict[str, object]:
    metric = report.metrics[one.metric]
    return {
        "mean": round(one.mean, DIGITS),
        "interval": one.interval and [round(end, DIGITS) for end in one.interval],
        "images": one.images,
        "unit": metric.unit,
        "higher_is_better": metric.higher_is_better,
    }


def _image(item: Item, one: Scored) -> dict[str, object]:
    return {
        "name": one.name,
        "restored": _path(item.restored),
        "gt": _path(item.gt),
        "values": {name: round(value, DIGITS) for name, value in one.values.items()},
        "notices": one.notices,
        "problem": one.problem,
        "failed": dict(one.failed),
    }


def write_csv(path: Path, report: ScoreReport) -> None:
    """Write a line for each image, atomically.

    Raises:
        MaskDCPTError: the file cannot be written.
    """
    names = [name for name, metric in report.metrics.items() if not metric.over_set]
    rows: list[list[object]] = [["name", "restored", "gt", *names, "remarks"]]
    for item, one in zip(report.pairing.items, report.scored, strict=True):
        values = [f"{one.values[name]:.{DIGITS}f}" if name in one.values else "" for name in names]
        remarks = " ".join(filter(None, [one.problem, *one.failed.values(), *one.notices]))
        paths = [_path(item.restored), _path(item.gt)]
        rows.append([one.name, *paths, *values, remarks])
    write_rows(path, rows)


def _path(image: object) -> str | None:
    return str(image) if isinstance(image, Path) else None
