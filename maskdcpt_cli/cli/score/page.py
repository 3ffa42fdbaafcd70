"""Page of `score --html`: the images, their ground truths, and error maps."""

from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from time import strftime
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskdcpt_cli.cli.console import count
from maskdcpt_cli.cli.page import data_uri, write_page
from maskdcpt_cli.cli.score.report import ScoreReport
from maskdcpt_cli.cli.score.view import direction, facts, within
from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.files import shown
from maskdcpt_cli.images.reader import PhotoReader, reading_by
from maskdcpt_cli.images.reading import upright
from maskdcpt_cli.scoring.events import Item, Scored
from maskdcpt_cli.scoring.images import ScoringImage, read_image, read_pair
from maskdcpt_cli.scoring.summary import Summary, worst

MOST = 200  # images on a page
LARGEST, SMALLEST, UNSHRUNK = 480, 240, 40  # longest side; up to this many images have the largest


class Spread(NamedTuple):
    """Values of all images between their lowest and highest, and the interval of the mean."""

    low: str
    high: str
    ticks: tuple[str, ...]  # position of each image, in %
    start: str  # of the interval, in %
    width: str  # of the interval, in %


class MetricRow(NamedTuple):
    """Row of the table of means."""

    name: str
    direction: str
    mean: str
    interval: str
    spread: Spread | None


class ScoreFigure(NamedTuple):
    """An image, its ground truth and the error, or the problem with its files."""

    name: str
    values: str = ""
    images: tuple[tuple[str, str], ...] = ()  # title and data URI
    notices: tuple[str, ...] = ()
    problem: str = ""


def write_scores(path: Path, report: ScoreReport, *, reader: PhotoReader | None = None) -> None:
    """Write the page atomically; the images are read by `reader`, None opens one.

    Raises:
        MaskDCPTError: The file cannot be written.
    """
    with reading_by(reader) as files:
        write_page(
            path,
            "score",
            title="Scores",
            lead=_lead(report),
            metrics=[_metric_row(report, one) for one in report.summaries],
            facts={**dict(facts(report)), "Date": strftime("%Y-%m-%d")},
            problems=_problems(report),
            legend=_legend(report),
            colours=_scale() if report.gt else [],
            figures=_figures(report, files),
        )


def _figures(report: ScoreReport, reader: PhotoReader) -> Iterator[ScoreFigure]:
    ordered = worst(report.metrics, report.scored, count=MOST)
    shrink = sqrt(UNSHRUNK / max(len(ordered), UNSHRUNK))
    items = {item.name: item for item in report.pairing.items}
    for one in ordered:
        side = max(SMALLEST, round(LARGEST * shrink))
        yield _figure(report, items[one.name], one, reader, max_side=side)


def _lead(report: ScoreReport) -> str:
    against = f" against {shown(report.gt)}" if report.gt else ""
    return f"{count(len(report.scored), 'image')} of {shown(report.pred)}{against}"


def _metric_row(report: ScoreReport, one: Summary) -> MetricRow:
    metric = report.metrics[one.metric]
    return MetricRow(
        one.metric,
        direction(metric),
        metric.shown(one.mean),
        within(metric, one),
        _spread(report, one),
    )


def _spread(report: ScoreReport, one: Summary) -> Spread | None:
    values = [each.values[one.metric] for each in report.scored if one.metric in each.values]
    if len(values) < 2 or one.interval is None or max(values) == min(values):
        return None
    low, high = min(values), max(values)
    digits = report.metrics[one.metric].digits
    ticks = tuple(f"{100 * (value - low) / (high - low):.2f}" for value in values)
    start, end = (100 * (value - low) / (high - low) for value in one.interval)
    return Spread(
        f"{low:.{digits}f}", f"{high:.{digits}f}", ticks, f"{start:.2f}", f"{end - start:.2f}"
    )


def _problems(report: ScoreReport) -> list[str]:
    return [
        *report.broken(),
        *(one.reason for one in report.unavailable),
        *(f"{name}: {sentence}" for name, sentence in report.problems()),
        *(f"{shown(path)} has no ground truth." for path in report.pairing.missing),
    ]


def _legend(report: ScoreReport) -> str:
    ordered = worst(report.metrics, report.scored, count=None)
    if not ordered:
        return ""
    first = next(name for name in report.metrics if name in ordered[0].values)
    legend = f"The worst {first} comes first"
    if len(ordered) > MOST:
        legend += f"; of {len(ordered):,} images the worst {MOST} are shown"
    return legend


def _scale() -> list[str]:
    """Return the colours of the error map from 0 to 255, as CSS."""
    steps = _coloured(np.linspace(0, 255, 9)[None].astype(np.uint8))[0]
    return [f"rgb({red} {green} {blue})" for red, green, blue in steps]


def _figure(
    report: ScoreReport, item: Item, one: Scored, reader: PhotoReader, *, max_side: int
) -> ScoreFigure:
    name = shown(one.name)
    try:
        images = list(_images(item, reader, report.max_pixels))
    except ImageError as error:
        return ScoreFigure(name, problem=str(error))
    values = [
        f"{metric} {report.metrics[metric].shown(value)}" for metric, value in one.values.items()
    ]
    return ScoreFigure(
        name,
        " \u00b7 ".join(values),
        tuple((part, _thumbnail(pixels, max_side)) for part, pixels in images),
        one.notices,
    )


def _images(
    item: Item, reader: PhotoReader, max_pixels: int | None
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    if item.gt is None:
        yield "image", _turned(read_image(item.restored, max_pixels=max_pixels, reader=reader))
        return
    pair = read_pair(item.restored, item.gt, max_pixels=max_pixels, reader=reader)
    restored, gt = (_turned(image) for image in pair)
    yield "restored", restored
    yield "ground truth", gt
    yield "error", error_map(restored, gt)


def error_map(restored: NDArray[np.uint8], gt: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour the error of (H, W, 3) images on a square-root scale, which shows small errors."""
    error = cv2.absdiff(restored, gt).mean(axis=2)
    return _coloured(np.rint(np.sqrt(error * 255)).astype(np.uint8))


def _coloured(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    coloured = cv2.applyColorMap(values, cv2.COLORMAP_INFERNO)
    return np.asarray(cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB), np.uint8)


def _turned(image: ScoringImage) -> NDArray[np.uint8]:
    turned: NDArray[np.uint8] = np.ascontiguousarray(upright(image.pixels, image.orientation))
    return turned


def _thumbnail(pixels: NDArray[np.uint8], max_side: int) -> str:
    image = Image.fromarray(pixels)
    image.thumbnail((max_side, max_side), Image.Resampling.BOX)
    return data_uri(image)
