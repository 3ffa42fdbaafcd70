"""The page of `--report`: one self-contained file with a slider for every photo."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from html import escape
from math import sqrt
from pathlib import Path
from string import Template
from time import strftime

from PIL import Image

from maskdcpt_cli.cli.console import BAD, ENDINGS, count, printable, why
from maskdcpt_cli.cli.page import FIGURES, facts, inlined, template, trouble, write_page
from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.reading import preview
from maskdcpt_cli.inference.events import Outcome, Settings

FIGURE = Template("""\
<figure style="--ratio: $ratio; --widest: ${widest}px">
<div class="frame">
<img class="after" src="$after" alt="$name, after" loading="lazy" decoding="async">
<img class="before" src="$before" alt="$name, before" loading="lazy" decoding="async">
<span class="tag left">Before</span><span class="tag right">After</span>
<input type="range" min="0" max="100" step="any" value="50"
 aria-label="$name: how much is shown as before">
<span class="divider"></span>
</div>
<figcaption><b>$name</b>$notices</figcaption>
</figure>
""")
LARGEST, SMALLEST = 1280, 480  # longest side of a photo on the page
MOST_ENLARGED = 1.5
UNSHRUNK = 60  # number of photos that are shown at the largest size: about 25 MB


def write_report(
    path: Path, outcomes: Sequence[Outcome], *, model: str, settings: Settings
) -> None:
    """Write the page atomically.

    Raises:
        MaskDCPTError: The file cannot be written.
    """
    page = template("report").substitute(
        title="Restored photos",
        lead=escape(_lead(outcomes)),
        facts=_facts(model, settings),
        trouble=_trouble(outcomes),
        figures=FIGURES,
    )
    write_page(path, page, _figures(outcomes))


def _lead(outcomes: Sequence[Outcome]) -> str:
    counts = {
        word: sum(outcome.status == status for outcome in outcomes)
        for status, (word, _) in ENDINGS.items()
    }
    ends = ", ".join(f"{number} {word.lower()}" for word, number in counts.items() if number)
    return f"{count(len(outcomes), 'photo')}: {ends}"


def _facts(model: str, settings: Settings) -> str:
    defaults = asdict(Settings())
    chosen = {
        name: value
        for name, value in asdict(settings).items()
        if value != defaults[name] and name not in ("compare", "max_pixels")
    }
    chosen_text = ", ".join(
        name if value is True else f"{name} {value}" for name, value in chosen.items()
    )
    chosen_text = chosen_text or "as by default"
    return facts({"Model": model, "Settings": chosen_text, "Date": strftime("%Y-%m-%d")})


def _trouble(outcomes: Sequence[Outcome]) -> str:
    return trouble("Not restored", [why(one) for one in outcomes if one.status in BAD])


def _figures(outcomes: Sequence[Outcome]) -> Iterator[str]:
    shown = [outcome for outcome in outcomes if outcome.status not in BAD]
    shrink = sqrt(UNSHRUNK / max(len(shown), UNSHRUNK))
    for outcome in shown:
        yield _figure(outcome, max_side=max(SMALLEST, round(LARGEST * shrink)))


def _figure(outcome: Outcome, *, max_side: int) -> str:
    name = escape(printable(str(outcome.job.source)))
    notices = "".join(f" &middot; {escape(printable(notice))}" for notice in outcome.notices)
    try:
        lq = Image.fromarray(preview(outcome.job.source, max_side=max_side))
        restored = Image.fromarray(preview(outcome.job.target, max_side=max_side))
    except ImageError as error:
        return f"<p><b>{name}</b> &middot; {escape(printable(str(error)))}</p>\n"
    return FIGURE.substitute(
        name=name,
        notices=notices,
        before=inlined(lq),
        after=inlined(restored),
        ratio=f"{lq.width / lq.height:.4f}",
        widest=max(round(MOST_ENLARGED * lq.width), SMALLEST),
    )
