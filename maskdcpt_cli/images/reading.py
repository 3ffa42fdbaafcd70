"""Reading of image files: recognise the format by content, decode, and interpret the colours."""

import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.files import shown
from maskdcpt_cli.images.arrays import Native
from maskdcpt_cli.images.codecs import ifd, png
from maskdcpt_cli.images.codecs.pfm import PfmSource
from maskdcpt_cli.images.codecs.pillow import PillowSource, maxval
from maskdcpt_cli.images.codecs.raw_heif import HeifSource, NotRaw, RawSource
from maskdcpt_cli.images.codecs.tiff import TiffSource
from maskdcpt_cli.images.codecs.webp import WebpSource
from maskdcpt_cli.images.codecs.xmp import without_announcements
from maskdcpt_cli.images.colour import Colour, colour_of
from maskdcpt_cli.images.decoder_errors import why_unreadable
from maskdcpt_cli.images.formats import (
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    RAW_SUFFIXES,
    WRITABLE,
    result_suffix,
)
from maskdcpt_cli.images.limits import allow, limited
from maskdcpt_cli.images.photo import (
    Decoded,
    Header,
    Metadata,
    Page,
    Photo,
    fill_transparent,
    page_from_array,
    upright,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "WRITABLE",
    "Colour",
    "Header",
    "Metadata",
    "Page",
    "Photo",
    "fill_transparent",
    "page_from_array",
    "preview",
    "probe",
    "read_photo",
    "render_preview",
    "result_suffix",
    "shrink",
    "upright",
]


class Source(Protocol):
    """An opened file, with no pixel decoded."""

    header: Header
    pixels: int  # number of pixels that decoding yields

    def decode(self) -> Decoded: ...


Opener = Callable[[BinaryIO, str], Source]

# The signature of each format, and its reader.
SIGNATURES: Mapping[str, tuple[re.Pattern[bytes], Opener]] = MappingProxyType(
    {
        "jpeg": (re.compile(rb"\xff\xd8\xff"), PillowSource),
        "png": (re.compile(rb"\x89PNG\r\n\x1a\n"), PillowSource),
        "tiff": (re.compile(rb"II[*+]\0|MM\0[*+]"), TiffSource),
        "webp": (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), WebpSource),
        "gif": (re.compile(rb"GIF8[79]a"), PillowSource),
        "bmp": (re.compile(rb"BM"), PillowSource),
        "avif": (re.compile(rb".{4}ftyp.{0,48}avi[fs]", re.DOTALL), PillowSource),
        "heif": (re.compile(rb".{4}ftyp(?:hei|hev|mif|msf)", re.DOTALL), HeifSource),
        "ppm": (re.compile(rb"P[1-6]\s"), PillowSource),
        "pfm": (re.compile(rb"P[Ff]\s"), PfmSource),
        "jpeg2000": (re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"), PillowSource),
    }
)


OPENCV_PIXELS = 1 << 30  # OpenCV decodes no larger image
RAW_TAGS = frozenset({271, 330, 50706})  # the maker, sub-directories, the version of DNG
BAND = 1 << 22  # pixels converted at a time


def probe(path: Path) -> Header:
    """Return the header of an image file without decoding pixels; ImageError if unreadable."""
    with _opened(path, max_pixels=None) as source:
        return source.header


def read_photo(path: Path, *, max_pixels: int | None = MAX_PIXELS) -> Photo:
    """Read an image file: all pages, colours and metadata.

    Raises ImageError for a file of more than `max_pixels` pixels (before it is decoded; None for
    no limit), and for one that is missing, truncated, damaged, or of an unsupported format.
    """
    return _read(path, max_pixels=max_pixels)


def _read(path: Path, *, max_pixels: int | None, max_side: int | None = None) -> Photo:
    """Read a photo as read_photo does; a JPEG much larger than `max_side` at a fraction."""
    with _opened(path, max_pixels=max_pixels) as source:
        if max_side and isinstance(source, PillowSource):
            source.reduce(max_side)
        decoded = source.decode()
        if not all(page.pixels.size for page in decoded.pages):
            raise ImageError("it holds no pixels")
        colour, notices = colour_of(decoded.metadata.icc, decoded.pages[0].pixels)
        xmp, lost = without_announcements(decoded.metadata.xmp)
        metadata = replace(decoded.metadata, xmp=xmp)
        named = _name_notice(path.suffix, source.header.format)
        notices = named + decoded.notices + _range_notice(decoded) + notices + lost
        once = tuple(dict.fromkeys(notices))  # a file and its XMP may say the same
        return Photo(path, source.header.format, decoded.pages, colour, metadata, once)


def preview(
    path: Path, *, max_side: int | None, max_pixels: int | None = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Return a preview of the first page: (h, w, 3) sRGB, upright, blended over white.

    Its sides are at most `max_side` pixels; None keeps the size. Raises ImageError as read_photo.
    """
    photo = _read(path, max_pixels=max_pixels, max_side=max_side)
    return render_preview(photo, max_side=max_side)


def render_preview(photo: Photo, *, max_side: int | None) -> NDArray[np.uint8]:
    """Return the preview, as `preview` does, of a photo that is read already."""
    page = photo.pages[0]
    height, width = page.pixels.shape[:2]
    scale = min(1.0, max_side / max(height, width)) if max_side else 1.0
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    alpha = None if page.alpha is None else shrink(page.alpha[..., None], size)
    picture = to_srgb8(shrink(fill_transparent(page), size), photo.colour, alpha=alpha)
    return np.ascontiguousarray(upright(picture, photo.metadata.orientation))


def to_srgb8(pixels: Native, colour: Colour, *, alpha: Native | None = None) -> NDArray[np.uint8]:
    """Convert native pixels (H, W, C) to sRGB (H, W, 3), 8 bits, some rows at a time.

    An `alpha` (H, W, 1) blends them over white.
    """
    height, width = pixels.shape[:2]
    converted = np.empty((height, width, 3), np.uint8)
    step = max(1, BAND // width)
    for rows in (slice(top, top + step) for top in range(0, height, step)):
        picture = colour.to_srgb(pixels[rows])
        if alpha is not None:
            weight = Colour().to_srgb(alpha[rows])
            picture = picture * weight + (1 - weight)
        converted[rows] = np.rint(picture * 255)
    return converted


def read_rgb(path: Path, *, max_pixels: int | None = MAX_PIXELS) -> NDArray[np.uint8]:
    """Read a training image as (H, W, 3) sRGB, 8 bits, upright; colour profiles are ignored.

    Raises ImageError, also for an image of more than `max_pixels` pixels (None for no limit).
    """
    with _named(shown(path)), _stream(path) as stream:
        return _rgb(stream, max_pixels=max_pixels)


def decode_rgb(data: bytes, *, name: str, max_pixels: int | None = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode the bytes of a file as read_rgb does; `name` is for the ImageError."""
    with _named(name), limited(name, len(data)):
        return _rgb(io.BytesIO(data), max_pixels=max_pixels)


def _rgb(stream: BinaryIO, *, max_pixels: int | None) -> NDArray[np.uint8]:
    """Decode an image by OpenCV, which is fastest, once its header is known to be in bounds."""
    limit = OPENCV_PIXELS if max_pixels is None else max_pixels
    source = _source(stream, "", max_pixels=limit)
    if source.header.format == "png" and png.is_cut_short(stream):
        raise ImageError("it is cut short")  # OpenCV takes as much memory as a chunk claims
    if _differs_by_opencv(source):
        return _first_page(source)
    stream.seek(0)
    try:
        pixels = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ImageError("its pixels cannot be decoded") from error
    sides = {source.header.height, source.header.width}
    if pixels is None or set(pixels.shape[:2]) != sides:  # a HEIC photo; a TIFF after its thumbnail
        return _first_page(source)
    return np.asarray(pixels, np.uint8)


def _first_page(source: Source) -> NDArray[np.uint8]:
    if isinstance(source, TiffSource):
        del source.frames[1:]
    decoded = source.decode()
    rgb = to_srgb8(decoded.pages[0].pixels, Colour())
    return np.ascontiguousarray(upright(rgb, decoded.metadata.orientation))


def _differs_by_opencv(source: Source) -> bool:
    """Return whether OpenCV decodes other values, as multiplied by alpha, or an AVIF as it lies."""
    if isinstance(source, TiffSource):
        return source.has_alpha
    return (
        isinstance(source, PfmSource) or source.header.format == "avif" or _has_other_maxval(source)
    )


def _has_other_maxval(source: Source) -> bool:
    """Return whether it is a PPM or PGM whose maxval is not that of 8 or 16 bits."""
    if not isinstance(source, PillowSource) or source.header.format != "ppm":
        return False
    return maxval(source.image) not in {255, 65535}


@contextmanager
def _opened(path: Path, *, max_pixels: int | None) -> Iterator[Source]:
    """Yield the source of an image; every error becomes an ImageError that names the file."""
    with _named(shown(path)), _stream(path) as stream:
        yield _source(stream, path.suffix, max_pixels=max_pixels)


@contextmanager
def _stream(path: Path) -> Iterator[BinaryIO]:
    if path.is_dir():
        raise ImageError("it is a folder")
    if path.exists() and not path.is_file():
        raise ImageError("it is not a regular file")
    with path.open("rb") as stream, limited(shown(path), path.stat().st_size):
        yield stream


def _source(stream: BinaryIO, suffix: str, *, max_pixels: int | None) -> Source:
    """Return the source of an image whose header is within the limit."""
    word, opener = _recognise(suffix, stream.read(64))
    stream.seek(0)
    source = opener(stream, word)
    if max_pixels is not None and source.pixels > max_pixels:
        raise ImageError(
            f"{_amount(source.pixels)} are above the limit of {_amount(max_pixels)}; "
            "lift it with --max-pixels"
        )
    allow(source.pixels)
    return source


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Turn every error into an ImageError that names the file."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{name} cannot be read: {error}.") from error
    except MemoryError as error:
        raise ImageError(
            f"{name} cannot be read: it needs more memory than there is, or than its size explains."
        ) from error
    except Exception as error:  # decoders raise anything at all on damaged data
        raise ImageError(f"{name} cannot be read: {why_unreadable(error)}.") from error


def _recognise(suffix: str, head: bytes) -> tuple[str, Opener]:
    if not head:
        raise ImageError("it is empty")
    found = next((word for word, (sign, _) in SIGNATURES.items() if sign.match(head)), None)
    if suffix.lower() in RAW_SUFFIXES and found in {None, "tiff", "heif"}:  # of most, and CR3
        return "raw", partial(_open_raw, found=found)
    if found:
        return found, SIGNATURES[found][1]
    raise ImageError("it is not an image, or of a format that is not read")


def _open_raw(stream: BinaryIO, word: str, *, found: str | None) -> Source:
    """Open a RAW file, or what is none by the format of its signature, if that is found.

    Of a RAW file that LibRaw does not know the preview is not taken for the photo.
    """
    try:
        return RawSource(stream, word)
    except NotRaw:
        if found is None or _is_of_camera(stream):
            raise
    stream.seek(0)
    return SIGNATURES[found][1](stream, found)


def _is_of_camera(stream: BinaryIO) -> bool:
    """Return whether a TIFF stream has the marks of a RAW file."""
    stream.seek(8)
    if stream.read(2) == b"CR":  # of Canon
        return True
    try:
        return bool(ifd.read(stream, RAW_TAGS)[1])
    except ValueError:  # it is no TIFF
        return False


def _amount(pixels: int) -> str:
    for size, unit in ((10**9, "gigapixels"), (10**6, "megapixels")):
        if pixels >= size:
            return f"{pixels / size:.3g} {unit}"
    return f"{pixels} pixels"


def _name_notice(suffix: str, word: str) -> tuple[str, ...]:
    if suffix.lower() not in RAW_SUFFIXES or word == "raw":
        return ()
    return (f"It is named {suffix}, and is read as what it is: {word.upper()}.",)


def _range_notice(decoded: Decoded) -> tuple[str, ...]:
    pixels = decoded.pages[0].pixels
    peak = np.fmax.reduce(pixels, axis=None) if pixels.dtype.kind == "f" else 1
    if peak <= 1:
        return ()
    return (f"Values reach {peak:.3g}: the network sees them clipped to [0, 1].",)


def shrink(pixels: Native, size: tuple[int, int]) -> Native:
    """Average pixels (H, W, C) down to a size (width, height); float16 becomes float32."""
    if pixels.dtype == np.float16:
        pixels = pixels.astype(np.float32)
    smaller: Native = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return smaller.reshape(size[1], size[0], -1)
