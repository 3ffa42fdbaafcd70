"""What the pages share: one file, nothing from elsewhere."""

import base64
import io
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Literal

from PIL import Image

from maskdcpt_cli.cli.console import printable
from maskdcpt_cli.files import written

FOLDER = Path(__file__).parent
FIGURES = "\0"  # where in a page its figures go, which are written one by one


def template(kind: Literal["report", "score", "benchmark"]) -> Template:
    """A page: the head that all have, and the rest of this one."""
    texts = (FOLDER / f"{name}.html" for name in ("head", kind))
    return Template("".join(text.read_text(encoding="utf-8") for text in texts))


def write_page(path: Path, page: str, figures: Iterable[str]) -> None:
    """Write a page, whole or not at all, its figures in the place of FIGURES.

    Raises MaskDCPTError where it cannot be written.
    """
    head, tail = page.split(FIGURES)

    def parts() -> Iterator[str]:
        yield head
        yield from figures
        yield tail

    with written(path) as file:
        file.writelines(part.encode() for part in parts())


def facts(told: Mapping[str, str]) -> str:
    """The entries of a list of facts."""
    return "\n".join(
        f"<div><dt>{escape(term)}</dt><dd>{escape(printable(fact))}</dd></div>"
        for term, fact in told.items()
    )


def trouble(title: str, sentences: Iterable[str]) -> str:
    """What went wrong, in a box; nothing where nothing did."""
    items = "\n".join(f"<li>{escape(printable(sentence))}</li>" for sentence in sentences)
    if not items:
        return ""
    return f'<section class="trouble">\n<h2>{title}</h2>\n<ul>\n{items}\n</ul>\n</section>'


def inlined(image: Image.Image, *, format: str = "jpeg", quality: int = 85) -> str:
    """A picture as an address that holds it."""
    file = io.BytesIO()
    image.save(file, format=format, quality=quality, progressive=True)
    return f"data:image/{format};base64,{base64.b64encode(file.getvalue()).decode()}"
