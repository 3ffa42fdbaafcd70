"""Reading of image files: recognise the format by content, decode, and interpret the colours."""

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.files import shown
from maskdcpt_cli.images.arrays import Native
from maskdcpt_cli.images.codecs.pfm import PfmSource
from maskdcpt_cli.images.codecs.pillow import PillowSource
from maskdcpt_cli.images.codecs.raw_heif import HeifSource, RawSource
from maskdcpt_cli.images.codecs.tiff import TiffSource
from maskdcpt_cli.images.codecs.xmp import without_announcements
from maskdcpt_cli.images.colour import Colour, colour_of
from maskdcpt_cli.images.formats import IMAGE_SUFFIXES, RAW_SUFFIXES, WRITABLE, result_suffix
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
    "shown",
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
        "webp": (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), PillowSource),
        "gif": (re.compile(rb"GIF8[79]a"), PillowSource),
        "bmp": (re.compile(rb"BM"), PillowSource),
        "avif": (re.compile(rb".{4}ftyp.{0,48}avi[fs]", re.DOTALL), PillowSource),
        "heif": (re.compile(rb".{4}ftyp(?:hei|hev|mif|msf)", re.DOTALL), HeifSource),
        "ppm": (re.compile(rb"P[1-6]\s"), PillowSource),
        "pfm": (re.compile(rb"P[Ff]\s"), PfmSource),
        "jpeg2000": (re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"), PillowSource),
    }
)


CUT_SHORT = re.compile("truncated|incomplete|failed to read|end of file|only got", re.IGNORECASE)
# Not "decoder error -2", "unknown pixel mode", "invalid literal for int() with base 10: b'1'".
PLAIN = re.compile(r"(?!.*(error -|mode|literal|b'|<|_))[A-Za-z][ -~]{3,200}")


def probe(path: Path) -> Header:
    """Return the header of an image file without decoding pixels; ImageError if unreadable."""
    with _opened(path) as source:
        return source.header


def read_photo(path: Path, *, max_pixels: int | None) -> Photo:
    """Read an image file: all pages, colours and metadata.

    Raises ImageError for a file of more than `max_pixels` pixels (before it is decoded; None for
    no limit), and for one that is missing, truncated, damaged, or of an unsupported format.
    """
    with _opened(path) as source:
        if max_pixels is not None and source.pixels > max_pixels:
            raise ImageError(
                f"{_amount(source.pixels)} are above the limit of {_amount(max_pixels)}; "
                "lift it with --max-pixels"
            )
        decoded = source.decode()
        if not all(page.pixels.size for page in decoded.pages):
            raise ImageError("it holds no pixels")
        colour, notices = colour_of(decoded.metadata.icc, decoded.pages[0].pixels)
        xmp, lost = without_announcements(decoded.metadata.xmp)
        metadata = replace(decoded.metadata, xmp=xmp)
        notices = decoded.notices + _range_notice(decoded) + notices + lost
        return Photo(path, source.header.format, decoded.pages, colour, metadata, notices)


def preview(path: Path, *, max_side: int | None) -> NDArray[np.uint8]:
    """Return a preview of the first page: (h, w, 3) sRGB, upright, blended over white.

    Its sides are at most `max_side` pixels; None keeps the size.
    """
    return render_preview(read_photo(path, max_pixels=None), max_side=max_side)


def render_preview(photo: Photo, *, max_side: int | None) -> NDArray[np.uint8]:
    """Return the preview, as `preview` does, of a photo that is read already."""
    page = photo.pages[0]
    height, width = page.pixels.shape[:2]
    scale = min(1.0, max_side / max(height, width)) if max_side else 1.0
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = photo.colour.to_srgb(_shrunk(fill_transparent(page), size))
    if page.alpha is not None:
        alpha = Colour().to_srgb(_shrunk(page.alpha[..., None], size))
        image = image * alpha + (1 - alpha)
    turned = upright(np.rint(image * 255).astype(np.uint8), photo.metadata.orientation)
    return np.ascontiguousarray(turned)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read a training image as (H, W, 3) sRGB, 8 bits, upright; colour profiles are ignored.

    Raises ImageError.
    """
    try:
        return decode_rgb(path.read_bytes(), name=shown(path))
    except OSError as error:
        raise ImageError(f"{shown(path)} cannot be read: {error.strerror or error}.") from error


def decode_rgb(data: bytes, *, name: str) -> NDArray[np.uint8]:
    """Decode the bytes of a file as read_rgb does; `name` is for the ImageError."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ImageError(f"{name} cannot be read: {error.err}.") from error
    if pixels is None:
        raise ImageError(f"{name} cannot be read: it is not an image, or damaged.")
    return np.asarray(pixels, np.uint8)


@contextmanager
def _opened(path: Path) -> Iterator[Source]:
    """Yield the source of an image; every error becomes an ImageError that names the file."""
    name = shown(path)
    try:
        if path.is_dir():
            raise ImageError("it is a folder")
        if path.exists() and not path.is_file():
            raise ImageError("it is not a regular file")
        with path.open("rb") as stream:
            word, opener = _recognise(path, stream.read(64))
            stream.seek(0)
            yield opener(stream, word)
    except ImageError as error:
        raise ImageError(f"{name} cannot be read: {error}.") from error
    except MemoryError as error:
        raise ImageError(f"{name} cannot be read: it needs more memory than there is.") from error
    except Exception as error:  # decoders raise anything at all on damaged data
        raise ImageError(f"{name} cannot be read: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    """Return what is wrong with a file by the exception of a decoder.

    The words of the decoder are added where they are about the file, not about its program.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip().rstrip(".")
    if isinstance(error, EOFError) or CUT_SHORT.search(text):
        return "it is cut short"
    damaged = "its content is damaged, or of a kind that is not read"
    internal = isinstance(error, (LookupError, TypeError, AttributeError, struct.error))
    return damaged if internal or not PLAIN.fullmatch(text) else f"{damaged} ({text})"


def _recognise(path: Path, head: bytes) -> tuple[str, Opener]:
    if not head:
        raise ImageError("it is empty")
    found = next((word for word, (sign, _) in SIGNATURES.items() if sign.match(head)), None)
    if path.suffix.lower() in RAW_SUFFIXES and found in {None, "tiff", "heif"}:  # of most, and CR3
        return "raw", RawSource
    if found:
        return found, SIGNATURES[found][1]
    raise ImageError("it is not an image, or of a format that is not read")


def _amount(pixels: int) -> str:
    for size, unit in ((10**9, "gigapixels"), (10**6, "megapixels")):
        if pixels >= size:
            return f"{pixels / size:.3g} {unit}"
    return f"{pixels} pixels"


def _range_notice(decoded: Decoded) -> tuple[str, ...]:
    pixels = decoded.pages[0].pixels
    peak = np.fmax.reduce(pixels, axis=None) if pixels.dtype.kind == "f" else 1
    if peak <= 1:
        return ()
    return (f"Values reach {peak:.3g}: the network sees them clipped to [0, 1].",)


def _shrunk(pixels: Native, size: tuple[int, int]) -> Native:
    if pixels.dtype == np.float16:
        pixels = pixels.astype(np.float32)
    smaller: Native = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return smaller.reshape(size[1], size[0], -1)
