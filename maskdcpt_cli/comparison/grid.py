"""Grids of the results of several methods, in the layout of papers."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.images.contact_sheets import FRAMES, GAP, INK, Region, drawable, strongest

WHITE = (255, 255, 255)  # as the page that it is printed on
CELL = 256  # side of an enlarged crop, in pixels
INNER = 6  # between crops, in pixels
FRAME = 4  # width of a rectangle's line, in pixels
BETWEEN = 22  # scenes, in pixels
LABEL, SCORE = 22, 19  # sizes of text, in pixels
LEAST_TEXT = 13  # smallest size of a label before it is cut
TEXT_GAP = 6  # above a line of text, in pixels
CAPTION = LABEL + SCORE + 16  # height of the two lines below a crop
WRAPPED = 4  # images or more: single crops are in two lines
CROP_DIVISOR = 5  # default: a crop's side is 1/5 of the shorter side of the image
LEAST_CROP = 32
WIDEST = 1.8  # width of a whole image, in heights
BOLD = 0.6  # extra stroke width of the best score, in pixels: the font has no bold face

WholeImage = Literal["input", "gt"]


class Score(NamedTuple):
    """Score as text; the best one is bold."""

    text: str
    best: bool = False


class Panel(NamedTuple):
    """Image of a scene with the label and the scores below it."""

    label: str
    pixels: Pixels
    scores: tuple[Score, ...] = ()


class Scene(NamedTuple):
    """Input, results of all methods, and the ground truth if there is one."""

    name: str
    lq: Panel
    results: tuple[Panel, ...]
    gt: Panel | None = None

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels, from left to right."""
        return (self.lq, *self.results, *([self.gt] if self.gt else []))

    def named(self, whole: WholeImage) -> Panel:
        """Return the panel that is shown whole; the input if there is no ground truth."""
        return self.gt if whole == "gt" and self.gt else self.lq


class GridLayout(NamedTuple):
    """Layout of the crops of a scene, in lines and columns.

    Several crops have a line each, with a caption below the last. One crop has a caption below
    each image, and is in two lines if there are many images.
    """

    columns: int
    lines: int
    single: bool

    @classmethod
    def of(cls, panels: int, *, crops: int) -> "GridLayout":
        """Choose the layout for a number of panels and crops."""
        if crops > 1:
            return cls(panels, crops, single=False)
        lines = 2 if panels >= WRAPPED else 1
        return cls(-(-panels // lines), lines, single=True)

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.columns * (CELL + INNER) - INNER

    @property
    def height(self) -> int:
        """Height in pixels, without the last caption."""
        return self.corner(self.lines - 1, 0)[1] + CELL

    def corner(self, line: int, column: int) -> tuple[int, int]:
        """Return left and top of a cell in pixels."""
        caption = CAPTION if self.single else 0
        return column * (CELL + INNER), line * (CELL + INNER + caption)

    def cell(self, crop: int, panel: int) -> tuple[int, int]:
        """Return left and top of one panel's crop in pixels."""
        return (
            self.corner(*divmod(panel, self.columns)) if self.single else self.corner(crop, panel)
        )


def figure(
    scenes: Sequence[Scene],
    *,
    crops: int = 2,
    crop_size: int | None = None,
    whole: WholeImage = "input",
) -> Pixels:
    """Draw scenes below one another: a whole image, and crops of the results of all methods.

    The crops show where the methods differ most, and do not overlap.

    Args:
        scenes: With equal numbers of panels; the panels of a scene have one size.
        crops: Number of crops of each scene, 1 to 3.
        crop_size: Side of a crop in pixels of the image; None: a fifth of the shorter side.
        whole: Image that is shown whole; for dark inputs the ground truth shows more.

    Returns:
        (H, W, 3) in sRGB.
    """
    layout = GridLayout.of(len(scenes[0].panels), crops=crops)
    wholes = [_fitted(scene.named(whole).pixels, layout.height) for scene in scenes]
    left_width = max(fitted.shape[1] for fitted in wholes)
    step = layout.height + CAPTION + BETWEEN
    size = 3 * GAP + left_width + layout.width, 2 * GAP + len(scenes) * step - BETWEEN
    sheet = Image.new("RGB", size, WHITE)
    for number, (scene, fitted) in enumerate(zip(scenes, wholes, strict=True)):
        top = GAP + number * step
        regions = crop_regions(scene, crops=crops, crop_size=crop_size)
        shown = _framed(fitted, regions, fitted.shape[0] / scene.lq.pixels.shape[0])
        spare = (layout.height - shown.height) // 2
        sheet.paste(shown, (GAP + (left_width - shown.width) // 2, top + spare))
        below = top + spare + shown.height + TEXT_GAP
        _draw_text(sheet, scene.name, LABEL, (GAP + left_width // 2, below), width=left_width)
        _draw_crops(sheet, scene, regions, layout, (2 * GAP + left_width, top))
    return np.asarray(sheet)


def crop_regions(scene: Scene, *, crops: int, crop_size: int | None = None) -> list[Region]:
    """Find squares, not overlapping, where the results differ most from one another.

    Only detail finer than a crop counts. With one result, or equal ones, the difference is to the
    ground truth, then to the input. If nothing differs, return the centre.
    """
    height, width = scene.lq.pixels.shape[:2]
    shorter = min(height, width)
    side = min(crop_size or max(shorter // CROP_DIVISOR, LEAST_CROP), shorter)
    results = [panel.pixels for panel in scene.results]
    others = [panel.pixels for panel in (scene.gt, scene.lq) if panel]
    for compared in (results, *([results[0], other] for other in others)):
        if found := strongest(pixel_difference(compared, side=side), side=side, count=crops):
            return found
    return [Region((height - side) // 2, (width - side) // 2, side)]


def pixel_difference(images: Sequence[Pixels], *, side: int | None = None) -> NDArray[np.int64]:
    """Return (H, W): the range of the images at each pixel, summed over channels.

    With `side`, only detail finer than this many pixels counts: otherwise images of different
    brightness differ most in flat regions.
    """
    compared = [_fine(image, side) if side else image for image in images]
    distance = np.maximum.reduce(compared) - np.minimum.reduce(compared)
    summed: NDArray[np.int64] = distance.sum(2, dtype=np.int64)
    return summed


def _fine(image: Pixels, side: int) -> NDArray[np.int16]:
    values = image.astype(np.float32)
    fine: NDArray[np.int16] = np.rint(values - cv2.blur(values, (side, side))).astype(np.int16)
    return fine


def _framed(whole: Pixels, regions: Sequence[Region], scale: float) -> Image.Image:
    """Draw a rectangle for each crop on an image at this scale."""
    image = Image.fromarray(whole)
    for region, colour in zip(regions, FRAMES, strict=False):
        ImageDraw.Draw(image).rectangle(region.box(scale), outline=colour, width=FRAME)
    return image


def _draw_crops(
    sheet: Image.Image,
    scene: Scene,
    regions: Sequence[Region],
    layout: GridLayout,
    origin: tuple[int, int],
) -> None:
    for crop, (region, colour) in enumerate(zip(regions, FRAMES, strict=False)):
        for index, panel in enumerate(scene.panels):
            left, top = np.add(origin, layout.cell(crop, index)).tolist()
            image = Image.fromarray(region.crop(panel.pixels))
            image = image.resize((CELL, CELL), Image.Resampling.BICUBIC)
            edge = (0, 0, CELL - 1, CELL - 1)
            ImageDraw.Draw(image).rectangle(edge, outline=colour, width=FRAME)
            sheet.paste(image, (left, top))
            if crop == len(regions) - 1:
                _draw_caption(sheet, panel, left, top + CELL)


def _draw_caption(sheet: Image.Image, panel: Panel, left: int, top: int) -> None:
    """Draw a label, and below it the scores, the best of all methods bold."""
    _draw_text(sheet, panel.label, LABEL, (left + CELL // 2, top + TEXT_GAP), width=CELL)
    font = ImageFont.load_default(SCORE)
    parts = [Score(" / ") if odd else score for score in panel.scores for odd in (True, False)][1:]
    x = left + (CELL - sum(font.getlength(part.text) for part in parts)) / 2
    draw = ImageDraw.Draw(sheet)
    for part in parts:
        weight = BOLD if part.best else 0
        draw.text((x, top + LABEL + TEXT_GAP + 4), part.text, INK, font, stroke_width=weight)
        x += font.getlength(part.text)


def _draw_text(
    sheet: Image.Image, text: str, size: int, centre: tuple[int, int], *, width: int
) -> None:
    """Draw a line of text below a point, shrunk and then cut to the width."""
    text = drawable(text)
    while size > LEAST_TEXT and ImageFont.load_default(size).getlength(text) > width:
        size -= 1
    font = ImageFont.load_default(size)
    if font.getlength(text) > width:
        while text and font.getlength(f"{text}...") > width:
            text = text[:-1]
        text = f"{text}..."
    ImageDraw.Draw(sheet).text(centre, text, INK, font, anchor="ma")


def _fitted(image: Pixels, height: int) -> Pixels:
    """Resize an image to this height, or less if it would be too wide."""
    scale = min(height / image.shape[0], WIDEST * height / image.shape[1])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
