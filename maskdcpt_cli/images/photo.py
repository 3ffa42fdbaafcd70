"""An image file in memory: its pages as stored, and their metadata."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.arrays import Native
from maskdcpt_cli.images.colour import Colour


@dataclass(frozen=True)
class Header:
    """The facts about an image that need no decoding of pixels."""

    format: str  # a lower-case word: "jpeg", "png", "tiff", "raw", "heif"...
    width: int  # as stored, before any rotation
    height: int
    pages: int  # or frames


@dataclass(frozen=True)
class Page:
    """The pixels of one page, as stored: not rotated, in the colours of the file."""

    pixels: Native  # (H, W, C), C = 1 grey, 3 RGB, 4 CMYK; uint8, uint16 or a float type
    alpha: Native | None = None  # (H, W), same dtype; not multiplied into the pixels


@dataclass(frozen=True)
class Metadata:
    """The metadata of an image file."""

    exif: bytes | None = None  # from its TIFF header on
    icc: bytes | None = None
    xmp: bytes | None = None
    orientation: int = 1  # 1 to 8, as in EXIF
    dpi: tuple[float, float] | None = None
    lossless: bool = False  # of WebP and AVIF: stored without loss
    significant_bits: bytes = b""  # of each channel, as sBIT of PNG; of 16, a camera has 10 or 12
    # What its own format alone holds: texts of PNG; IPTC and comments of JPEG. Name and content.
    extras: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True)
class Photo:
    """The decoded content of an image file."""

    path: Path
    format: str  # a lower-case word, as in `Header`
    pages: tuple[Page, ...]  # all of a TIFF file, one of any other
    colour: Colour = field(default_factory=Colour)
    metadata: Metadata = field(default_factory=Metadata)
    notices: tuple[str, ...] = ()  # messages for the user, a sentence each


@dataclass(frozen=True)
class Decoded:
    """The output of a decoder, before the colour profile is interpreted."""

    pages: tuple[Page, ...]
    metadata: Metadata
    notices: tuple[str, ...] = ()


def fill_transparent(page: Page) -> Native:
    """Return the pixels (H, W, C), fully transparent ones replaced by the nearest visible colour.

    Restore these, and keep the original pixels of the page where its alpha is 0: then the hidden
    colour neither bleeds into visible pixels nor changes.
    """
    if page.alpha is None:
        return page.pixels
    visible = page.alpha != 0
    if visible.all() or not visible.any():
        return page.pixels
    _, nearest = cv2.distanceTransformWithLabels(
        (~visible).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    index = np.zeros(int(nearest.max()) + 1, np.int64)  # 0 is a label, too: of what is too far
    index[nearest[visible]] = np.flatnonzero(visible)
    filled = page.pixels.copy()
    filled[~visible] = page.pixels.reshape(-1, page.pixels.shape[2])[index[nearest[~visible]]]
    return filled


def page_from_array(image: Native) -> Page:
    """Convert an image (H, W) or (H, W, C) to a page: grey, grey and alpha, RGB, or RGBA.

    Raises ImageError for other arrays.
    """
    if image.dtype not in (np.uint8, np.uint16, np.float32) or image.ndim not in (2, 3):
        raise ImageError(
            f"Cannot take an array of shape {image.shape} and type {image.dtype}: "
            "give (H, W) or (H, W, C) of uint8, uint16 or float32."
        )
    layers = image[..., None] if image.ndim == 2 else image
    if layers.shape[2] not in (1, 2, 3, 4) or not layers.size:
        raise ImageError(
            f"Cannot take an array of shape {image.shape}: the last axis holds "
            "1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha) channels."
        )
    has_alpha = layers.shape[2] % 2 == 0
    return Page(
        np.ascontiguousarray(layers[..., : layers.shape[2] - has_alpha]),
        np.ascontiguousarray(layers[..., -1]) if has_alpha else None,
    )


def upright(array: Native, orientation: int) -> Native:
    """Return an array (H, W, ...) as stored, turned upright by its EXIF orientation, 1 to 8."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    vertical = -1 if orientation in {3, 4, 7, 8} else 1
    horizontal = -1 if orientation in {2, 3, 6, 7} else 1
    return array[::vertical, ::horizontal]


def unpremultiply(pixels: Native, alpha: Native) -> Native:
    """Divide pixels (H, W, C) that are premultiplied by the alpha (H, W)."""
    peak = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1.0
    weight = np.where(alpha == 0, peak, alpha)[..., None] / np.float32(peak)
    divided = pixels / weight
    if pixels.dtype.kind == "f":
        return divided.astype(pixels.dtype)
    return np.rint(divided).clip(0, peak).astype(pixels.dtype)
