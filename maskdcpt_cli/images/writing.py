"""Atomic writing of image files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from maskdcpt_cli.errors import ImageError, words_of
from maskdcpt_cli.files import replacing, shown
from maskdcpt_cli.images.arrays import Native
from maskdcpt_cli.images.codecs import avif, ifd, png, tiff
from maskdcpt_cli.images.codecs.xmp import without_orientation
from maskdcpt_cli.images.colour import Colour, pillow_image
from maskdcpt_cli.images.formats import WRITABLE, Holds, format_of
from maskdcpt_cli.images.photo import Metadata, Page, Photo, upright

QUALITY = 95  # the default
LOSSLESS = avif.LOSSLESS  # of WebP and AVIF, and their default for a photo that was so
FULL_COLOUR = 90  # the quality from which on colour is stored at full resolution
JPEG_BLOCK = 65_533 - 64  # bytes that EXIF or XMP may have in a JPEG
EXTRAS = {"png": "texts of PNG", "jpeg": "IPTC and comments of JPEG"}  # of `Metadata.extras`
BAND = 1 << 20  # pixels converted at a time


def write_photo(
    photo: Photo,
    pages: Sequence[Page],
    target: Path,
    *,
    quality: int | None = None,
    strip: bool = False,
) -> tuple[str, ...]:
    """Write `pages`, oriented as `photo.pages`, with the metadata of the photo; return the losses.

    The suffix of `target` chooses the format. `quality` is of JPEG, WebP and AVIF, 1 to 100; 100
    is without loss for WebP and AVIF, the default for a photo that was so in the same format.
    `strip` leaves out EXIF, XMP and ICC, converts other colours to sRGB and turns the pixels
    upright, as do formats without such metadata. The target is replaced atomically, once the new
    file beside it is complete.

    Raises:
        ImageError: The format is not writable or too small for the photo, or writing failed.
    """
    word = format_of(target.suffix)
    if word is None:
        choices = ", ".join(holds.suffixes[0] for holds in WRITABLE.values())
        raise ImageError(f"{shown(target)} cannot be written: choose a suffix from {choices}.")
    fitted = fit(photo, pages, WRITABLE[word], word=word, strip=strip)
    height, width = fitted.pages[0].pixels.shape[:2]
    if max(height, width) > WRITABLE[word].max_side:
        raise ImageError(
            f"{shown(target)} cannot be written: {word.upper()} holds at most "
            f"{WRITABLE[word].max_side} pixels a side and the photo has {width}x{height}; "
            "choose another --format."
        )
    if quality is None:
        quality = LOSSLESS if word == photo.format and photo.metadata.lossless else QUALITY
    with _writing(target) as stream:
        ENCODERS[word](stream, fitted.pages, fitted.metadata, quality)
    if word == "avif" and quality == LOSSLESS and not avif.is_writable():
        return (*fitted.notices, "This OpenCV writes no AVIF: the result is not lossless.")
    return fitted.notices


@dataclass(frozen=True)
class Fitted:
    """The pages and metadata of a photo that a format can hold, and the losses."""

    pages: tuple[Page, ...]
    metadata: Metadata
    notices: tuple[str, ...]


def first_page_notice(word: str, pages: int) -> str:
    """Return the notice that a format holds one page of several."""
    return f"{word.upper()} holds one page: the first of {pages} is taken."


def fit(photo: Photo, pages: Sequence[Page], holds: Holds, *, word: str, strip: bool) -> Fitted:
    """Convert pages and metadata to the capabilities of a format; a sentence for each loss."""
    name = word.upper()
    about, losses = photo.metadata, []
    if len(pages) > 1 and not holds.pages:
        losses.append(first_page_notice(word, len(pages)))
        pages = pages[:1]
    first = pages[0]
    if any(page.alpha is not None for page in pages) and not holds.alpha:
        losses.append(f"{name} holds no alpha: the photo is blended over white.")
        pages = [_over_white(page) for page in pages]
    channels = first.pixels.shape[2]
    fits = channels in holds.channels
    converted = not fits or ((strip or not holds.icc) and not photo.colour.is_plain(channels))
    if channels == 4 and converted:
        losses.append(f"{'Without its profile' if fits else name} CMYK becomes RGB.")
    if converted:
        pages = [_to_srgb(page, photo.colour, holds) for page in pages]
        about = replace(about, icc=None)
    depth = str(first.pixels.dtype)
    if depth not in holds.depths:
        losses.append(f"{name} holds at most {holds.depths[-1]}: {depth} is reduced to it.")
        pages = [_reduced(page, np.dtype(holds.depths[-1])) for page in pages]
    if not holds.exif and (about.exif or about.xmp) and not strip:
        losses.append(f"{name} holds no EXIF and no XMP: they are left out.")
    if not strip:
        pages, about, left_out = _fit_exif(pages, about, word=word)
        losses += left_out
    if strip or not holds.exif:
        pages = [_upright(page, about.orientation) for page in pages]
        about = replace(about, exif=None, xmp=None, orientation=1)
    if strip or not holds.icc:
        about = replace(about, icc=None)
    if strip:
        about = replace(about, significant_bits=b"")
    if about.extras and (strip or word != photo.format):
        about = replace(about, extras=())
        if not strip:
            losses.append(f"{name} holds no {EXTRAS[photo.format]}: left out.")
    return Fitted(tuple(pages), about, tuple(losses))


def _fit_exif(
    pages: Sequence[Page], about: Metadata, *, word: str
) -> tuple[Sequence[Page], Metadata, list[str]]:
    """Leave out the thumbnail, which shows the photo as it was, and what a format cannot hold."""
    losses: list[str] = []
    if about.exif:
        about = replace(about, exif=ifd.without_thumbnail(about.exif))
    if word == "jpeg":
        return _within_jpeg(pages, about)
    if word == "avif" and about.exif and not _is_rewritable(about.exif):
        losses.append("EXIF of an unusual form, with which no AVIF is written, is left out.")
        pages, about = _without_exif(pages, about)
    return pages, about, losses


def _within_jpeg(
    pages: Sequence[Page], about: Metadata
) -> tuple[Sequence[Page], Metadata, list[str]]:
    """Leave out EXIF or XMP that exceeds its one segment of a JPEG; without EXIF it is upright."""
    left_out = []
    if about.exif and len(about.exif) > JPEG_BLOCK:
        left_out.append("EXIF larger than a JPEG holds is left out.")
        pages, about = _without_exif(pages, about)
    if about.xmp and len(about.xmp) > JPEG_BLOCK:
        left_out.append("XMP larger than a JPEG holds is left out.")
        about = replace(about, xmp=None)
    return pages, about, left_out


def _without_exif(pages: Sequence[Page], about: Metadata) -> tuple[Sequence[Page], Metadata]:
    """Turn pages upright, and leave the EXIF out that said how they lie."""
    pages = [_upright(page, about.orientation) for page in pages]
    xmp = without_orientation(about.xmp)
    return pages, replace(about, exif=None, xmp=xmp, orientation=1)


def _is_rewritable(exif: bytes) -> bool:
    """Return whether Pillow, which takes the orientation out for AVIF, can write a block again."""
    read = Image.Exif()
    try:
        read.load(exif)
        read.tobytes()
    except Exception:  # any at all
        return False
    return True


def _over_white(page: Page) -> Page:
    if page.alpha is None:
        return page
    dtype = page.pixels.dtype
    peak = np.iinfo(dtype).max if dtype.kind == "u" else 1
    white = 0 if page.pixels.shape[2] == 4 else peak
    blended = np.empty_like(page.pixels)
    for band in _bands(page.pixels):
        weight = page.alpha[band, :, None] / np.float32(peak)
        mixed = page.pixels[band] * weight + white * (1 - weight)
        blended[band] = np.rint(mixed) if dtype.kind == "u" else mixed
    return Page(blended)


def _to_srgb(page: Page, colour: Colour, holds: Holds) -> Page:
    """Return the page in sRGB, or in grey if it is grey and the format allows it; same dtype."""
    dtype = page.pixels.dtype
    peak = np.iinfo(dtype).max if dtype.kind == "u" else 1
    channels = 1 if page.pixels.shape[2] == 1 and 1 in holds.channels else 3
    converted = np.empty((*page.pixels.shape[:2], channels), dtype)
    for band in _bands(page.pixels):
        seen = colour.to_srgb(page.pixels[band])[..., :channels] * np.float32(peak)
        converted[band] = np.rint(seen) if dtype.kind == "u" else seen
    return Page(converted, page.alpha)


def _reduced(page: Page, dtype: np.dtype[Any]) -> Page:
    """Return the page at a smaller integer depth; floats are clipped to [0, 1]."""

    def reduce(values: Native) -> Native:
        floating = values.dtype.kind == "f"
        peak = np.float32(np.iinfo(dtype).max / (1 if floating else np.iinfo(values.dtype).max))
        reduced = np.empty(values.shape, dtype)
        for band in _bands(values):
            part = np.nan_to_num(values[band]).clip(0, 1) if floating else values[band]
            reduced[band] = np.rint(part * peak)
        return reduced

    return Page(reduce(page.pixels), None if page.alpha is None else reduce(page.alpha))


def _upright(page: Page, orientation: int) -> Page:
    if orientation == 1:
        return page
    alpha = None if page.alpha is None else upright(page.alpha, orientation)
    return Page(upright(page.pixels, orientation), alpha)


def _bands(array: Native) -> Iterator[slice]:
    rows = max(1, BAND // array.shape[1])
    return (slice(top, top + rows) for top in range(0, len(array), rows))


@contextmanager
def _writing(target: Path) -> Iterator[BinaryIO]:
    """Open a new file; every error in writing it becomes an ImageError that names it."""
    try:
        with replacing(target) as stream:
            yield stream
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(f"{shown(target)} cannot be written: {reason}.") from error
    except ImageError:
        raise
    except Exception as error:  # encoders raise anything at all on odd metadata
        raise ImageError(
            f"{shown(target)} cannot be written: {words_of(error).rstrip('.')}."
        ) from error


def _write_png(stream: BinaryIO, pages: Sequence[Page], about: Metadata, _quality: int) -> None:
    png.write(stream, pages[0], about)


def _write_tiff(stream: BinaryIO, pages: Sequence[Page], about: Metadata, _quality: int) -> None:
    tiff.write(stream, pages, about)


def _write_bmp(stream: BinaryIO, pages: Sequence[Page], about: Metadata, _quality: int) -> None:
    _image(pages[0]).save(stream, "BMP", dpi=about.dpi or (0, 0))


def _write_jpeg(stream: BinaryIO, pages: Sequence[Page], about: Metadata, quality: int) -> None:
    _image(pages[0]).save(
        stream,
        "JPEG",
        quality=quality,
        subsampling="4:4:4" if quality >= FULL_COLOUR else "4:2:0",
        dpi=about.dpi or (0, 0),
        icc_profile=about.icc,
        exif=b"Exif\0\0" + about.exif if about.exif else b"",
        xmp=about.xmp or b"",
        extra=b"".join(
            name + (len(data) + 2).to_bytes(2, "big") + data for name, data in about.extras
        ),
    )


def _write_webp(stream: BinaryIO, pages: Sequence[Page], about: Metadata, quality: int) -> None:
    lossless = quality == LOSSLESS
    _image(pages[0]).save(
        stream,
        "WEBP",
        lossless=lossless,
        quality=20 if lossless else quality,  # of lossless WebP: the effort, not the look
        exact=True,
        icc_profile=about.icc,
        exif=about.exif or b"",
        xmp=about.xmp or b"",
    )


def _write_avif(stream: BinaryIO, pages: Sequence[Page], about: Metadata, quality: int) -> None:
    if quality == LOSSLESS and avif.is_writable():
        avif.write_lossless(stream, pages[0], about)
        return
    _image(pages[0]).save(
        stream,
        "AVIF",
        quality=quality,
        subsampling="4:4:4" if quality >= FULL_COLOUR else "4:2:0",
        icc_profile=about.icc,
        exif=about.exif or b"",
        xmp=about.xmp or b"",
    )


Encoder = Callable[[BinaryIO, Sequence[Page], Metadata, int], None]

ENCODERS: Mapping[str, Encoder] = MappingProxyType(
    {
        "jpeg": _write_jpeg,
        "png": _write_png,
        "tiff": _write_tiff,
        "webp": _write_webp,
        "bmp": _write_bmp,
        "avif": _write_avif,
    }
)


def _image(page: Page) -> Image.Image:
    image = pillow_image(page.pixels)
    if page.alpha is not None:
        image.putalpha(pillow_image(page.alpha[..., None]))
    return image
