"""Heat maps: an image beside a map of the likeliest degradation of each tile."""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from maskdcpt_cli.degradations import CLEAN, slug
from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.files import replacing
from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.images.contact_sheets import (
    GAP,
    INK,
    LINE,
    PAPER,
    drawable,
    font,
    grid,
    resized,
    stacked,
    text_width,
)
from maskdcpt_cli.images.reading import Photo, render_preview

LONGEST, SHORTEST = 900, 480  # side of an image on the sheet, in pixels
PALE = 0.6  # fraction by which the image below the colours is faded towards white
TINT = 0.85  # opacity of the colour of a tile with probability 1
TITLES = ("Photo", "Likeliest of each tile; the paler, the less certain")
GREY = (150, 150, 150)  # labels without a colour

# Kinds of one group are of related colours: noise red, blur blue, weather green to cyan.
COLOURS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "GN": (214, 39, 40),
        "RN": (255, 127, 110),
        "MB": (31, 84, 180),
        "DB": (90, 150, 235),
        "GB": (70, 60, 150),
        "J": (255, 127, 14),
        "H": (0, 150, 136),
        "RS": (23, 190, 207),
        "RD": (0, 110, 90),
        "RSD": (60, 140, 160),
        "S": (120, 205, 190),
        "MS": (200, 30, 170),
        "LL": (70, 45, 30),
        "MR": (240, 150, 220),
        "MB+J": (140, 86, 75),
        "MB+RS": (40, 70, 110),
        "MB+LL+GN": (110, 20, 50),
        "LL+H+RS+S": (60, 80, 60),
        "DS+GN+GB+J": (170, 110, 20),
        CLEAN: (150, 210, 70),
    }
)


def write_map(
    photo: Photo,
    found: Sequence[Sequence[str]],
    probabilities: NDArray[np.float32],
    target: Path,
    *,
    overwrite: bool,
) -> None:
    """Write the heat map of a photo atomically.

    `found` holds the likeliest label of each tile, in rows of the upright photo, `probabilities`
    (rows, columns) their probabilities. Raises ImageError where the target exists with another
    content and `overwrite` is false, or cannot be written.
    """
    sheet = draw_map(
        render_preview(photo, max_side=LONGEST), found, probabilities, title=photo.path.name
    )
    stream = io.BytesIO()
    Image.fromarray(sheet).save(stream, format="PNG")
    content = stream.getvalue()
    try:
        if target.exists() and not overwrite:
            if target.read_bytes() == content:
                return
            raise ImageError(f"'{target}' exists; --overwrite replaces it.")
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as file:
            file.write(content)
    except OSError as error:
        raise ImageError(f"Cannot write '{target}': {error.strerror or error}.") from error


def draw_map(
    image: Pixels,
    found: Sequence[Sequence[str]],
    probabilities: NDArray[np.float32],
    *,
    title: str = "",
) -> Pixels:
    """Return an image and its map side by side, above a legend with the fraction of tiles."""
    scale = max(SHORTEST / max(image.shape[:2]), 1.0)
    larger = resized(image, scale)
    both = grid([[larger, tinted(larger, found, probabilities)]], column_titles=TITLES)
    counts = Counter(label for row in found for label in row)
    entries = [
        (COLOURS.get(label, GREY), f"{slug(label)} {100 * count / counts.total():.0f} %")
        for label, count in counts.most_common()
    ]
    return stacked([both, _legend(entries, width=both.shape[1])], title=title)


def tinted(
    image: Pixels, found: Sequence[Sequence[str]], probabilities: NDArray[np.float32]
) -> Pixels:
    """Return the image faded to grey, each tile tinted in the colour of its label."""
    height, width = image.shape[:2]
    colours = np.array([[COLOURS.get(label, GREY) for label in row] for row in found], np.float32)
    down = np.arange(height) * len(found) // height
    across = np.arange(width) * len(found[0]) // width
    strength = TINT * probabilities[down][:, across, None]
    grey = image.mean(axis=2, keepdims=True)
    faded = PALE * 255 + (1 - PALE) * grey
    mixed = faded * (1 - strength) + colours[down][:, across] * strength
    return np.asarray(np.rint(mixed), np.uint8)


def _legend(entries: Sequence[tuple[tuple[int, int, int], str]], *, width: int) -> Pixels:
    """Return coloured squares with their texts, wrapped to `width` pixels."""
    placed: list[tuple[int, int]] = []
    left, top = GAP, 0
    for _, text in entries:
        needed = LINE + text_width(text) + 2 * GAP
        if left > GAP and left + needed > width:
            left, top = GAP, top + LINE
        placed.append((left, top))
        left += needed
    sheet = Image.new("RGB", (width, top + LINE + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for (colour, text), (x, y) in zip(entries, placed, strict=True):
        draw.rectangle((x, y + 2, x + LINE - 8, y + LINE - 6), fill=colour)
        draw.text((x + LINE, y), drawable(text), INK, font())
    return np.asarray(sheet)
