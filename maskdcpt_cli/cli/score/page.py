"""Page of `score --html`: the images, their ground truths, and error maps."""

from collections.abc import Iterator
from html import escape
from math import sqrt
from pathlib import Path
from string import Template
from time import strftime

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskdcpt_cli.cli.console import count, printable
from maskdcpt_cli.cli.page import FIGURES, inlined, template, trouble, write_page
from maskdcpt_cli.cli.page import facts as page_facts
from maskdcpt_cli.cli.score.report import ScoreReport
from maskdcpt_cli.cli.score.view import direction, facts, within
from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.reading import shown, upright
from maskdcpt_cli.scoring.events import Item, Scored
from maskdcpt_cli.scoring.images import ScoringImage, read_image, read_pair
from maskdcpt_cli.scoring.summary import Summary, worst

FIGURE = Template("""\
<figure>
<figcaption><b>$name</b><span>$figures</span></figcaption>
<div class="row">
$images</div>
$notices</figure>
""")
IMAGE = Template("""\
<div><img src="$data" alt="$name, $part" loading="lazy" decoding="async"><small>$part</small></div>
""")
METRIC = Template("""\
<tr><th scope="row">$name<small>$direction</small></th><td>$mean</td><td>$interval</td>
<td class="spread">$spread</td></tr>
""")
MOST = 200  # images on a page
LARGEST, SMALLEST, UNSHRUNK = 480, 240, 40  # longest side; up to this many images have the largest


def write_scores(path: Path, report: ScoreReport) -> None:
    """Write the page atomically; raises MaskDCPTError if it cannot be written."""
    page = template("score").substitute(
        title="Scores",
        lead=escape(printable(_lead(report))),
        metrics="".join(_metric(report, one) for one in report.summaries),
        facts=page_facts({**dict(facts(report)), "Date": strftime("%Y-%m-%d")}),
        trouble=_trouble(report),
        legend=_legend(report),
        figures=FIGURES,
    )
    write_page(path, page, _figures(report))


def _figures(report: ScoreReport) -> Iterator[str]:
    ordered = worst(report.metrics, report.scored, count=MOST)
    shrink = sqrt(UNSHRUNK / max(len(ordered), UNSHRUNK))
    items = {item.name: item for item in report.pairing.items}
    for one in ordered:
        side = max(SMALLEST, round(LARGEST * shrink))
        yield _figure(report, items[one.name], one, max_side=side)


def _lead(report: ScoreReport) -> str:
    against = f" against {shown(report.gt)}" if report.gt else ""
    return f"{count(len(report.scored), 'image')} of {shown(report.pred)}{against}"


def _metric(report: ScoreReport, one: Summary) -> str:
    metric = report.metrics[one.metric]
    return METRIC.substitute(
        name=escape(one.metric),
        direction=direction(metric),
        mean=metric.shown(one.mean),
        interval=within(metric, one),
        spread=_spread(report, one),
    )


def _spread(report: ScoreReport, one: Summary) -> str:
    """Draw a tick for the value of each image, and the interval of the mean."""
    values = [each.values[one.metric] for each in report.scored if one.metric in each.values]
    if len(values) < 2 or one.interval is None or max(values) == min(values):
        return ""
    low, high = min(values), max(values)
    positions = [f"{100 * (value - low) / (high - low):.2f}%" for value in (*values, *one.interval)]
    ticks = "".join(f'<line x1="{x}" x2="{x}" y1="3" y2="17"/>' for x in positions[:-2])
    start, end = (100 * (value - low) / (high - low) for value in one.interval)
    band = f'<rect x="{start:.2f}%" width="{end - start:.2f}%" y="0" height="20"/>'
    metric = report.metrics[one.metric]
    return (
        f"<i>{low:.{metric.digits}f}</i>"
        f'<svg role="img" aria-label="a tick for each image">{band}{ticks}</svg>'
        f"<i>{high:.{metric.digits}f}</i>"
    )


def _trouble(report: ScoreReport) -> str:
    return trouble(
        "Problems",
        [
            *report.broken(),
            *(one.reason for one in report.unavailable),
            *(f"{name}: {sentence}" for name, sentence in report.problems()),
            *(f"{shown(path)} has no ground truth." for path in report.pairing.missing),
        ],
    )


def _legend(report: ScoreReport) -> str:
    ordered = worst(report.metrics, report.scored, count=None)
    if not ordered:
        return ""
    first = next(name for name in report.metrics if name in ordered[0].values)
    legend = f"The worst {first} comes first"
    if len(ordered) > MOST:
        legend += f"; of {len(ordered):,} images the worst {MOST} are shown"
    if report.gt is None:
        return f"<p>{legend}.</p>"
    steps = _coloured(np.linspace(0, 255, 9)[None].astype(np.uint8))[0]
    colours = ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in steps)
    return (
        f"<p>{legend}. Error: the mean over the channels of the absolute difference, "
        f'<span class="scale"><i>0</i><b style="background: linear-gradient(90deg, {colours})"></b>'
        f"<i>255, square-root scale</i></span></p>"
    )


def _figure(report: ScoreReport, item: Item, one: Scored, *, max_side: int) -> str:
    name = escape(printable(shown(Path(one.name))))
    try:
        images = list(_images(item))
    except ImageError as error:
        return f"<p><b>{name}</b> &middot; {escape(printable(str(error)))}</p>\n"
    values = [
        f"{metric} {report.metrics[metric].shown(value)}" for metric, value in one.values.items()
    ]
    notices = "".join(f"<p>{escape(printable(notice))}</p>\n" for notice in one.notices)
    return FIGURE.substitute(
        name=name,
        figures=escape(" \u00b7 ".join(values)),
        images="".join(
            IMAGE.substitute(data=_inlined(pixels, max_side), name=name, part=part)
            for part, pixels in images
        ),
        notices=notices,
    )


def _images(item: Item) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    if item.gt is None:
        yield "image", _turned(read_image(item.restored))
        return
    restored, gt = (_turned(image) for image in read_pair(item.restored, item.gt))
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


def _inlined(pixels: NDArray[np.uint8], max_side: int) -> str:
    image = Image.fromarray(pixels)
    image.thumbnail((max_side, max_side), Image.Resampling.BOX)
    return inlined(image)
