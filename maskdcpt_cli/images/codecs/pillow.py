"""Pillow opens 16-bit colour as 8-bit, silently: OpenCV reads that, and Pillow the rest.

Reading of JPEG, PNG, WebP, BMP, GIF, AVIF, PNM, JPEG 2000, and pages of TIFF.
"""

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    WebPImagePlugin,
)

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.arrays import Native, full_range
from maskdcpt_cli.images.codecs import avif, cicp, ifd, jpeg2000, left_out, png
from maskdcpt_cli.images.photo import Decoded, Header, Metadata, Page

RAW_PROFILES = ("Raw profile type exif", "Raw profile type APP1")
READ_TEXTS = {png.XMP_KEYWORD, *map(str.encode, RAW_PROFILES)}  # not copied as texts, too
JPEG_EXTRAS = {"APP13": b"\xff\xed", "COM": b"\xff\xfe"}  # IPTC, and comments
JPEG_PROFILE = b"ICC_PROFILE\0"  # begins each part of one
DAMAGED_PROFILE = "The ICC profile is damaged and is left out."
SAME = 3  # of 255: the difference of two decoders that round in their own ways
WRAPPED = 65408  # of 65535, that is 254.5 of 255
BAND = 1 << 22  # pixels copied at a time

# Pillow's classes are called by themselves: `Image.open` would apply its own limit of pixels,
# which is a setting of the whole process, and formats that start other programs.
OPENERS: dict[str, Callable[[BinaryIO], ImageFile.ImageFile]] = {
    "jpeg": JpegImagePlugin.jpeg_factory,
    "png": PngImagePlugin.PngImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "avif": AvifImagePlugin.AvifImageFile,
    "ppm": PpmImagePlugin.PpmImageFile,
    "jpeg2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
}

# The mode to convert each mode to, and the notice about it.
MODES: dict[str, tuple[str, str | None]] = {
    "1": ("L", "1-bit image: the result has 8-bit grey."),
    "L": ("L", None),
    "LA": ("LA", None),
    "La": ("LA", None),
    "P": ("RGB", "Palette image: the result has full colour."),
    "PA": ("RGBA", "Palette image: the result has full colour."),
    "RGB": ("RGB", None),
    "RGBX": ("RGB", None),
    "RGBA": ("RGBA", None),
    "RGBa": ("RGBA", None),
    "CMYK": ("CMYK", None),
    "YCbCr": ("RGB", None),
    "I;16": ("I;16", None),
    "I;16B": ("I;16B", None),
    "I": ("I", None),  # of 16-bit PGM alone
    "F": ("F", None),
}
DTYPES = {"I;16": np.uint16, "I;16B": np.uint16, "I": np.uint16, "F": np.float32}
WITH_KEY = {"L": "LA", "RGB": "RGBA"}  # for images one of whose colours is transparent
GREY_MODES = frozenset({"1", "L", "LA", "I;16", "I;16B"})
GREY, PALETTE, GREY_ALPHA = 0, 3, 4  # colour types of PNG
GREY_TYPES = frozenset({GREY, GREY_ALPHA})


class PillowSource:
    """An image opened by Pillow, with no pixel decoded."""

    def __init__(self, stream: BinaryIO, word: str) -> None:
        self.chunks: list[png.Chunk] = []
        self.notices: tuple[str, ...] = ()
        if word == "png":
            stream, self.chunks, self.notices = png.without_broken(stream)
        stream.seek(0)
        self.stream = stream
        self.image = OPENERS[word](stream)
        frames = getattr(self.image, "n_frames", 1)
        self.header = Header(word, *self.image.size, frames)
        self.pixels = self.image.width * self.image.height

    def reduce(self, max_side: int) -> None:
        """Let a JPEG be decoded at 1/2, 1/4 or 1/8 where that is at least twice `max_side`."""
        width, height = self.image.size
        fraction = max(width, height) // (2 * max_side)
        if self.header.format == "jpeg" and fraction > 1:
            self.image.draft(None, (max(width // fraction, 1), max(height // fraction, 1)))

    def decode(self) -> Decoded:
        deep = self._is_deep()
        notices = self.notices + _frames_notice(self.header) + self._format_notice()
        self._scale_key()
        # OpenCV takes damaged files for whole ones: Pillow decodes those too, and refuses them.
        self.image.load()
        metadata, damaged = _metadata(self.image, self._extras())
        icc, lost = self._embedded_profile()
        profile, unknown = self._stated_profile(icc)
        metadata = replace(
            metadata,
            icc=profile,
            lossless=self._is_lossless(),
            significant_bits=self._significant_bits(),
        )
        page, losses = (self._by_opencv(), ()) if deep else self._by_pillow()
        if self.header.format == "bmp" and page.alpha is not None and not page.alpha.any():
            page = Page(page.pixels)  # a byte that is not used
        return Decoded((page,), metadata, notices + losses + damaged + lost + unknown)

    def _scale_key(self) -> None:
        """Scale the transparent grey of a PNG of 2 or 4 bits, whose pixels Pillow scales to 8."""
        head, info = self._head(), self.image.info
        is_png = self.header.format == "png"
        if is_png and head[25] == GREY and head[24] in {2, 4} and "transparency" in info:
            info["transparency"] *= 255 // (2 ** head[24] - 1)

    def _is_deep(self) -> bool:
        """Return whether Pillow would silently reduce 16 bits of colour to 8."""
        head = self._head()
        match self.header.format, self.image.mode:
            case "png", "RGB" | "RGBA":
                return head[24] == 16
            case "ppm", "RGB":
                largest = maxval(self.image)
                if largest not in {255, 65535}:
                    raise ImageError(f"its largest value is {largest}, not 255 or 65535")
                return largest > 255
            case "jpeg2000", "RGB" | "RGBA" | "LA":
                return (jpeg2000.bits(self.stream) or 8) > 8
        return False

    def _is_lossless(self) -> bool:
        """Return whether the pixels of a WebP are in the chunk of lossless ones, or AVIF is RGB."""
        if self.header.format == "avif":
            stated = cicp.NCLX.search(self._head())
            matrix = stated and int.from_bytes(stated[3], "big")
            return matrix in avif.LOSSLESS_MATRICES
        if self.header.format != "webp":
            return False
        self.stream.seek(12)
        while len(head := self.stream.read(8)) == 8:
            name, length = head[:4], int.from_bytes(head[4:], "little")
            if name in {b"VP8 ", b"VP8L"}:
                return name == b"VP8L"
            # A frame of an animation holds the chunk of its pixels, after 16 bytes.
            self.stream.seek(16 if name == b"ANMF" else length + length % 2, 1)
        return False

    def _significant_bits(self) -> bytes:
        """Return sBIT of a PNG whose result has the same depth: 8 or 16 bits, or a palette."""
        stated = next((chunk.data for chunk in self.chunks if chunk.name == b"sBIT"), b"")
        head = self._head()
        return stated if stated and (head[24] >= 8 or head[25] == PALETTE) else b""

    def _format_notice(self) -> tuple[str, ...]:
        """Return what is not read of a JPEG, a PNG, an AVIF or a JPEG 2000 file."""
        if self.header.format == "jpeg":
            return left_out.of_jpeg(self.stream)
        if self.header.format == "png":
            return left_out.of_png(self.chunks)
        if self.header.format == "jpeg2000" and jpeg2000.has_metadata(self.stream):
            return ("The metadata of a JPEG 2000 file, as EXIF and XMP, are left out.",)
        if self.header.format != "avif":
            return ()
        bits = re.search(rb"pixi.{5}(.)", self._head(), re.DOTALL)
        if bits is None or bits[1][0] <= 8:
            return ()
        return (f"AVIF of {bits[1][0]} bits per channel: it is read at 8.",)

    def _head(self) -> bytes:
        self.stream.seek(0)
        return self.stream.read(1 << 16)

    def _embedded_profile(self) -> tuple[bytes | None, tuple[str, ...]]:
        """Return the ICC profile in the file, and a notice where it is damaged."""
        icc: bytes | None = self.image.info.get("icc_profile") or None
        if self.header.format == "jpeg2000":
            return jpeg2000.profile(self.stream), ()
        if self.header.format == "png":
            icc = png.profile(self.chunks)
            is_stated = any(chunk.name == png.PROFILE for chunk in self.chunks)
        else:
            segments = getattr(self.image, "applist", [])  # of JPEG
            is_stated = any(data.startswith(JPEG_PROFILE) for _, data in segments)
        return icc, (DAMAGED_PROFILE,) if is_stated and icc is None else ()

    def _stated_profile(self, icc: bytes | None) -> tuple[bytes | None, tuple[str, ...]]:
        """Return the profile to follow: cICP over iCCP over sRGB over gAMA in PNG, ICC in AVIF.

        Of cICP that does not say all, or says what is not known, the others come first.
        """
        info, grey = self.image.info, self.image.mode in GREY_MODES
        if self.header.format == "png":  # 16-bit grey with alpha is RGBA to Pillow
            grey = self._head()[25] in GREY_TYPES
        numbers = self._stated_numbers()
        if self.header.format == "png" and numbers and cicp.are_known(*numbers):
            return cicp.from_numbers(*numbers, grey=grey)
        if icc is not None or "srgb" in info:
            return icc, ()
        if "gamma" in info:
            return cicp.from_gamma(info["gamma"], info.get("chromaticity"), grey=grey), ()
        return cicp.from_numbers(*numbers, grey=grey) if numbers else (None, ())

    def _stated_numbers(self) -> tuple[int, int] | None:
        """Return the primaries and the transfer function of cICP in PNG, of nclx in AVIF."""
        if self.header.format == "avif":
            return cicp.nclx_colours(self._head())
        stated = next((chunk.data for chunk in self.chunks if chunk.name == b"cICP"), b"")
        return (stated[0], stated[1]) if len(stated) == 4 else None

    def _extras(self) -> tuple[tuple[bytes, bytes], ...]:
        if self.header.format == "jpeg":
            segments = getattr(self.image, "applist", [])
            return tuple(
                (JPEG_EXTRAS[name], data) for name, data in segments if name in JPEG_EXTRAS
            )
        return tuple(
            (chunk.name, chunk.data)
            for chunk in self.chunks
            if chunk.name in png.TEXTS and chunk.keyword not in READ_TEXTS
        )

    def _by_pillow(self) -> tuple[Page, tuple[str, ...]]:
        page, notices = page_from_pillow(self.image)
        if self.header.format == "jpeg2000" and page.pixels.dtype == np.uint16:
            bits = jpeg2000.bits(self.stream)
            if bits and bits < 16:  # Pillow shifts the values to the left
                page = Page(full_range(page.pixels >> (16 - bits), bits))
        return page, notices

    def _by_opencv(self) -> Page:
        self.stream.seek(0)
        stream = self.stream
        if self.header.format == "png" and self.header.pages > 1:  # OpenCV reads a frame of it
            stream = png.without(stream, lambda chunk: chunk.name in png.ANIMATION)
        found = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_UNCHANGED)
        if found is None or found.dtype != np.uint16 or found.ndim != 3:
            raise ImageError("its 16-bit pixels cannot be decoded")
        grey = self.header.format == "png" and self._head()[25] == GREY_ALPHA
        pixels = found[..., :1] if grey else found[..., 2::-1]
        bits = jpeg2000.bits(self.stream) if self.header.format == "jpeg2000" else 16
        if bits and bits < 16:  # OpenCV leaves the values as they are
            found = full_range(found, bits)
            pixels = found[..., 2::-1]
        if not _agree(pixels, self.image):
            raise ImageError("two decoders read different pixels from it")
        alpha = np.ascontiguousarray(found[..., 3]) if found.shape[2] == 4 else None
        return Page(np.ascontiguousarray(pixels), alpha)


def maxval(image: ImageFile.ImageFile) -> int:
    """Return the maxval of a PPM or PGM; 255 of a PBM."""
    args = image.tile[0].args  # a mode, or with it what Pillow will scale the values by
    return int(args[1]) if isinstance(args, tuple) and isinstance(args[1], int) else 255


def page_from_pillow(image: Image.Image) -> tuple[Page, tuple[str, ...]]:
    """Return the pixels of an opened image, and notices for the user."""
    image.load()
    if image.mode not in MODES:
        raise ImageError(f"its pixels are {image.mode} and those are not restored")
    mode, notice = MODES[image.mode]
    key = image.info.get("transparency")
    if key is not None:
        mode = WITH_KEY.get(mode, mode)
    stored = _array(image, mode)
    if mode in {"LA", "RGBA"}:
        # Two arrays of their own: a view of both would keep the whole alive.
        page = Page(stored[..., :-1].copy(), stored[..., -1].copy())
    elif key is not None and stored.dtype == np.uint16:
        page = Page(stored, np.where(stored[..., 0] == key, 0, 65535).astype(np.uint16))
    else:
        page = Page(stored)
    return page, (notice,) if notice else ()


def _array(image: Image.Image, mode: str) -> Native:
    """Return (H, W, C), copied band by band: Pillow itself makes three copies of the image."""
    dtype = DTYPES.get(mode, np.uint8)
    stored = np.empty((image.height, image.width, len(Image.new(mode, (1, 1)).getbands())), dtype)
    rows = max(1, BAND // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        band = band if band.mode == mode else band.convert(mode)
        stored[top : top + rows] = np.asarray(band).reshape(band.height, band.width, -1)
    return stored


def _frames_notice(header: Header) -> tuple[str, ...]:
    if header.pages == 1:
        return ()
    if header.format == "jpeg":
        return (f"Only the first of the {header.pages} images in the file is restored.",)
    word = header.format.upper()
    return (f"Animated {word}: only the first of {header.pages} frames is restored.",)


def _agree(deep: Native, image: Image.Image) -> bool:
    """Return whether some rows of 16-bit pixels are, at 8 bits, about those of Pillow."""
    step = max(1, deep.shape[0] // 64)
    for top in range(0, deep.shape[0], step):
        row = np.asarray(image.crop((0, top, image.width, top + 1)))
        seen = row[0, :, : deep.shape[2]].astype(np.float32)
        if image.format == "JPEG2000":  # of which 255.5 and more are 0 to Pillow
            seen[(seen == 0) & (deep[top] >= WRAPPED)] = 255
        change = seen - deep[top] / np.float32(257)
        if np.abs(change).max() > SAME:
            return False
    return True


def _exif(info: Mapping[Any, Any]) -> bytes | None:
    """Return the EXIF block; of a PNG also one that ImageMagick wrote in hexadecimal digits."""
    exif: bytes = info.get("exif", b"")
    for keyword in RAW_PROFILES:
        if not exif and (text := info.get(keyword)):
            with contextlib.suppress(ValueError):
                exif = bytes.fromhex("".join(text.split("\n")[3:]))
    if exif.startswith(b"http"):  # XMP, which APP1 may be, too
        return None
    return exif.removeprefix(b"Exif\0\0") or None


def _metadata(
    image: Image.Image, extras: tuple[tuple[bytes, bytes], ...]
) -> tuple[Metadata, tuple[str, ...]]:
    info = image.info
    exif = _exif(info)
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or None
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    dpi = info.get("dpi", (0, 0))
    dpi = (float(dpi[0]), float(dpi[1])) if all(0 < value < ifd.MOST_DPI for value in dpi) else None
    try:
        return Metadata(exif, None, xmp, ifd.orientation(exif), dpi, extras=extras), ()
    except (ValueError, OverflowError):
        return Metadata(None, None, xmp, 1, dpi, extras=extras), (
            "The EXIF block is damaged and is left out.",
        )
