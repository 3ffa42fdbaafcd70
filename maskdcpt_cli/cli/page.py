"""Self-contained HTML pages, rendered from the templates in pages/."""

import base64
import io
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from maskdcpt_cli.files import shown, written

FOLDER = Path(__file__).parent / "pages"
HEAD = 1024  # characters, which hold what wrote a page

Kind = Literal["report", "score", "benchmark"]


def write_page(path: Path, kind: Kind, **context: object) -> None:
    """Write a page atomically.

    Args:
        path: File of the page.
        kind: Name of its template.
        context: Variables of the template. Iterators are consumed as the page is written.

    Raises:
        MaskDCPTError: The file cannot be written.
    """
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(f"{kind}.html.j2")
    with written(path) as file:
        file.writelines(part.encode() for part in page.generate(context, kind=kind))


def is_page(path: Path, kind: Kind) -> bool:
    """Return whether a file is a page that `write_page` wrote; False where it cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return f'content="maskdcpt {kind}"' in file.read(HEAD)
    except OSError:
        return False


def data_uri(image: Image.Image, *, format: str = "jpeg", quality: int = 85) -> Markup:
    """Return an image as a data URI."""
    file = io.BytesIO()
    image.save(file, format=format, quality=quality, progressive=True)
    encoded = base64.b64encode(file.getvalue()).decode()
    return Markup(f"data:image/{format};base64,{encoded}")  # base64 needs no escaping


def _printable(value: object) -> object:
    return value if isinstance(value, Markup) else shown(str(value))
