"""Contact sheets: images side by side on one sheet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.files import replacing, shown
from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.images.reader import PhotoReader, reading_by

SHEET_SUFFIX = ".compare.jpg"
MAP_SUFFIX = ".map.png"  # of a heat map
PAPER, INK = (250, 250, 249), (38, 38, 36)
FRAMES = ((235, 94, 40), (0, 140, 186), (120, 160, 0))  # one colour per enlarged region
GAP = 12  # between photos and around the sheet, in pixels
LINE = 22  # height of a line of text, in pixels
WIDTH = 1920  # of a before/after sheet, at most, in pixels
HEIGHT = 1440  # of a photo on it, at most, in pixels
MOST_ENLARGED = 4
COMPARED_SIDE = 4096  # longest side of the images compared: bounds the memory of a panorama
ZOOM = 2


@dataclass(frozen=True)
class Region:
    """A square of a photo, in pixels."""

    top: int
    left: int
    side: int

    def crop(self, photo: Pixels) -> Pixels:
        return photo[self.top : self.top + self.side, self.left : self.left + self.side]

    def box(self, scale: float) -> tuple[float, float, float, float]:
        left, top, extent = self.left * scale, self.top * scale, max(self.side * scale - 1, 0)
        return left, top, left + extent, top + extent

    def apart(self, top: int, left: int) -> bool:
        return max(abs(self.top - top), abs(self.left - left)) >= self.side


def is_sheet(name: str) -> bool:
    """Return whether a file name is that of a before/after sheet or of a heat map."""
    return name.endswith((SHEET_SUFFIX, MAP_SUFFIX))


def sheet_of(target: Path) -> Path:
    """Return the path of the before/after sheet of a result."""
    return target.with_name(target.name + SHEET_SUFFIX)


def write_sheet(
    source: Path,
    target: Path,
    *,
    max_pixels: int | None = MAX_PIXELS,
    reader: PhotoReader | None = None,
) -> Path:
    """Write the before/after sheet of a photo beside its result, atomically.

    Both are read by `reader`; None opens one.

    Returns:
        The path of the sheet, as `sheet_of` says.

    Raises:
        ImageError: One of the two cannot be read, or the sheet cannot be written.
    """
    with reading_by(reader) as files:
        lq, restored = (
            files.preview(path, max_side=COMPARED_SIDE, max_pixels=max_pixels)
            for path in (source, target)
        )
    if restored.shape != lq.shape:  # formats round what they reduce while they decode
        height, width = lq.shape[:2]
        restored = np.asarray(Image.fromarray(restored).resize((width, height)))
    path = sheet_of(target)
    try:
        with replacing(path) as file:
            Image.fromarray(before_after(lq, restored, title=source.name)).save(
                file, format="JPEG", quality=90
            )
    except OSError as error:
        raise ImageError(f"Cannot write '{shown(path)}': {error.strerror or error}.") from error
    return path


def before_after(lq: Pixels, restored: Pixels, *, title: str = "") -> Pixels:
    """Return both images side by side, above up to three enlarged regions that differ most.

    The two have the same size; the sheet is at most WIDTH pixels wide.
    """
    side = (WIDTH - 7 * GAP) // 6 // ZOOM  # three pairs below the photos fill the width
    regions = most_different(lq, restored, side=side)
    height, width = lq.shape[:2]
    scale = min((WIDTH - 3 * GAP) / 2 / width, HEIGHT / height, MOST_ENLARGED)
    photos = [_framed(resized(photo, scale), regions, scale) for photo in (lq, restored)]
    parts = [grid([photos], column_titles=("Before", "After"))]
    if regions:
        parts.append(grid([list(_enlarged(regions, lq, restored))]))
    return stacked(parts, title=title)


def grid(
    rows: Sequence[Sequence[Pixels]],
    *,
    column_titles: Sequence[str] = (),
    row_titles: Sequence[str] = (),
) -> Pixels:
    """Return images in rows and columns, centred in their cells, with titles above and left."""
    widths = [max(photo.shape[1] for photo in column) for column in zip(*rows, strict=True)]
    heights = [max(photo.shape[0] for photo in row) for row in rows]
    margin = max((text_width(text) + GAP for text in row_titles), default=0)
    head = LINE if column_titles else 0
    lefts = [GAP + margin + sum(widths[:i]) + i * GAP for i in range(len(widths))]
    tops = [GAP + head + sum(heights[:i]) + i * GAP for i in range(len(heights))]
    sheet = Image.new("RGB", (lefts[-1] + widths[-1] + GAP, tops[-1] + heights[-1] + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for left, text in zip(lefts, column_titles, strict=bool(column_titles)):
        draw.text((left, GAP // 2), drawable(text), INK, font())
    for top, text in zip(tops, row_titles, strict=bool(row_titles)):
        draw.text((GAP, top), drawable(text), INK, font())
    for row, top, height in zip(rows, tops, heights, strict=True):
        for photo, left, width in zip(row, lefts, widths, strict=True):
            centre = left + (width - photo.shape[1]) // 2, top + (height - photo.shape[0]) // 2
            sheet.paste(Image.fromarray(photo), centre)
    return np.asarray(sheet)


def stacked(parts: Sequence[Pixels], *, title: str) -> Pixels:
    """Return sheets below one another, under a title."""
    head = LINE + GAP if title else 0
    width, height = max(part.shape[1] for part in parts), sum(part.shape[0] for part in parts)
    sheet = Image.new("RGB", (width, head + height), PAPER)
    ImageDraw.Draw(sheet).text((GAP, GAP), drawable(title), INK, font())
    top = head
    for part in parts:
        sheet.paste(Image.fromarray(part), ((width - part.shape[1]) // 2, top))
        top += part.shape[0]
    return np.asarray(sheet)


def most_different(lq: Pixels, restored: Pixels, *, side: int, count: int = 3) -> list[Region]:
    """Return the squares where two images differ most, not overlapping, largest first."""
    difference = np.abs(lq.astype(np.int16) - restored).sum(2, dtype=np.int64)
    return strongest(difference, side=side, count=count)


def strongest(difference: NDArray[np.int64], *, side: int, count: int) -> list[Region]:
    """Return the squares of the largest sums of (H, W), not overlapping, largest first.

    Squares with a sum of 0 are left out.
    """
    height, width = difference.shape
    tops, lefts = (np.arange(0, length - side + 1, max(side // 4, 1)) for length in (height, width))
    if not (tops.size and lefts.size):
        return []
    sums = np.pad(difference.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    lower, right = tops[:, None] + side, lefts + side
    scores = (sums[lower, right] - sums[tops[:, None], right] - sums[lower, lefts]) + sums[
        tops[:, None], lefts
    ]
    regions: list[Region] = []
    for index in np.argsort(-scores, axis=None, kind="stable"):
        row, column = np.unravel_index(index, scores.shape)
        top, left = int(tops[row]), int(lefts[column])
        if len(regions) == count or not scores[row, column]:
            break
        if all(region.apart(top, left) for region in regions):
            regions.append(Region(top, left, side))
    return regions


def _enlarged(regions: Sequence[Region], lq: Pixels, restored: Pixels) -> Iterator[Pixels]:
    for region, colour in zip(regions, FRAMES, strict=False):
        for photo in (lq, restored):
            whole = Region(0, 0, region.side)
            yield _framed(resized(region.crop(photo), ZOOM), [whole], ZOOM, colours=[colour])


def _framed(
    shown: Pixels,
    regions: Sequence[Region],
    scale: float,
    *,
    colours: Sequence[tuple[int, int, int]] = FRAMES,
) -> Pixels:
    image = Image.fromarray(shown)
    for region, colour in zip(regions, colours, strict=False):
        ImageDraw.Draw(image).rectangle(region.box(scale), outline=colour, width=3)
    return np.asarray(image)


def resized(photo: Pixels, scale: float) -> Pixels:
    """Return an image scaled with bicubic interpolation, at least 1 pixel a side."""
    height, width = (max(1, round(length * scale)) for length in photo.shape[:2])
    return np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.BICUBIC))


def font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font of all sheets."""
    return ImageFont.load_default(15)


def text_width(text: str) -> int:
    """Return the width of a text in pixels."""
    return round(font().getlength(drawable(text)))


def drawable(text: str) -> str:
    """Return a text with bytes that are not UTF-8 written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
