"""The page of `--report`: one self-contained file with a slider for every photo."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from math import sqrt
from pathlib import Path
from time import strftime
from typing import NamedTuple

import click
from PIL import Image

from maskdcpt_cli.cli.console import count
from maskdcpt_cli.cli.page import data_uri, is_page, write_page
from maskdcpt_cli.cli.removal import removal_in_words, removals_in_words
from maskdcpt_cli.cli.restore_view import BAD, ENDINGS, why
from maskdcpt_cli.degradations import in_words
from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.files import shown
from maskdcpt_cli.images.reader import PhotoReader, reading_by
from maskdcpt_cli.inference.events import Outcome, Settings

LARGEST, SMALLEST = 1280, 480  # longest side of a photo on the page
MOST_ENLARGED = 1.5
MOST = 500  # photos on a page, of about 60 MB
UNSHRUNK = 60  # number of photos that are shown at the largest size: about 25 MB


class ReportFigure(NamedTuple):
    """A photo before and after, or the problem with its files."""

    name: str
    removal: str = ""
    notices: tuple[str, ...] = ()
    before: str = ""  # data URI
    after: str = ""  # data URI
    ratio: str = ""  # width to height
    widest: int = 0  # width on the page in pixels, at most
    problem: str = ""


def check_report(page: Path | None) -> None:
    """Raise UsageError where the page would replace a file that is not the page of a run."""
    if page and os.path.lexists(page) and not is_page(page, "report"):
        raise click.UsageError(
            f"'{shown(page)}' exists and is not known as the page of an earlier run: "
            "name another file, or remove it."
        )


def write_report(
    path: Path,
    outcomes: Sequence[Outcome],
    *,
    model: str,
    settings: Settings,
    reader: PhotoReader | None = None,
) -> None:
    """Write the page atomically; the photos are read by `reader`, None opens one.

    Raises:
        MaskDCPTError: The file cannot be written.
    """
    with reading_by(reader) as files:
        write_page(
            path,
            "report",
            title="Restored photos",
            lead=_lead(outcomes),
            facts=_facts(model, settings),
            problems=[why(one) for one in outcomes if one.status in BAD],
            figures=_figures(outcomes, files, settings.max_pixels),
        )


def _lead(outcomes: Sequence[Outcome]) -> str:
    counts = {
        word: sum(outcome.status == status for outcome in outcomes)
        for status, (word, _) in ENDINGS.items()
    }
    ends = ", ".join(f"{number} {word.lower()}" for word, number in counts.items() if number)
    removals = removals_in_words(one for one in outcomes if one.status not in BAD)
    lead = f"{count(len(outcomes), 'photo')}: {ends}{f'; {removals}' if removals else ''}"
    whole = sum(outcome.status not in BAD for outcome in outcomes) <= MOST
    return lead if whole else f"{lead}. The first {MOST} are shown"


def _facts(model: str, settings: Settings) -> dict[str, str]:
    defaults = asdict(Settings())
    chosen = {
        name: value
        for name, value in asdict(settings).items()
        if value != defaults[name] and name not in ("compare", "max_pixels")
    }
    chosen_text = ", ".join(map(_setting, chosen.items())) or "as by default"
    return {"Model": model, "Settings": chosen_text, "Date": strftime("%Y-%m-%d")}


def _setting(named: tuple[str, object]) -> str:
    name, value = named
    if value is True:
        return name
    return f"{name} {in_words(value) or 'nothing' if isinstance(value, tuple) else value}"


def _figures(
    outcomes: Sequence[Outcome], reader: PhotoReader, max_pixels: int | None
) -> Iterator[ReportFigure]:
    shown = [outcome for outcome in outcomes if outcome.status not in BAD][:MOST]
    shrink = sqrt(UNSHRUNK / max(len(shown), UNSHRUNK))
    for outcome in shown:
        max_side = max(SMALLEST, round(LARGEST * shrink))
        yield _figure(outcome, reader, max_side=max_side, max_pixels=max_pixels)


def _figure(
    outcome: Outcome, reader: PhotoReader, *, max_side: int, max_pixels: int | None
) -> ReportFigure:
    name = str(outcome.job.source)
    try:
        lq, restored = (
            Image.fromarray(reader.preview(path, max_side=max_side, max_pixels=max_pixels))
            for path in (outcome.job.source, outcome.job.target)
        )
    except ImageError as error:
        return ReportFigure(name, problem=str(error))
    return ReportFigure(
        name,
        removal=removal_in_words(outcome),
        notices=tuple(outcome.notices),
        before=data_uri(lq),
        after=data_uri(restored),
        ratio=f"{lq.width / lq.height:.4f}",
        widest=max(round(MOST_ENLARGED * lq.width), SMALLEST),
    )
