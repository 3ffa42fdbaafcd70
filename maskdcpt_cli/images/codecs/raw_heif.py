"""Pillow reads neither RAW files of cameras nor HEIC: rawpy and pillow-heif do.

They come with the extras `raw` and `heif`.
"""

from typing import Any, BinaryIO

import numpy as np

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.arrays import full_range
from maskdcpt_cli.images.codecs import cicp, hevc, ifd
from maskdcpt_cli.images.codecs.xmp import GAIN_MAP, without_orientation
from maskdcpt_cli.images.photo import Decoded, Header, Metadata, Page, unpremultiply

HEAD = 1 << 16  # bytes in which a HEIC file states its colours
OF_CAMERA_JPEG = frozenset({40961, 40965})  # ColorSpace and interoperability: of its own JPEGs
SRGB_GAMMA = (2.4, 12.92)  # power and slope of the toe, as LibRaw takes them


class NotRaw(Exception):
    """LibRaw knows no such file."""


class RawSource:
    """A RAW file, developed with the camera's white balance to 16-bit sRGB, upright."""

    def __init__(self, stream: BinaryIO, _word: str) -> None:
        try:
            import rawpy
        except ImportError as error:
            raise ImageError("RAW needs `pip install 'maskdcpt[raw]'`") from error
        self.stream = stream
        try:
            self.raw: Any = rawpy.imread(stream)
        except rawpy.LibRawFileUnsupportedError as error:
            raise NotRaw(str(error)) from error
        except rawpy.LibRawUnsufficientMemoryError as error:
            raise MemoryError from error
        self.space = rawpy.ColorSpace.sRGB
        sizes = self.raw.sizes
        self.header = Header("raw", sizes.width, sizes.height, 1)
        self.pixels = sizes.width * sizes.height

    def decode(self) -> Decoded:
        with self.raw as raw:
            pixels = raw.postprocess(
                use_camera_wb=True, output_bps=16, output_color=self.space, gamma=SRGB_GAMMA
            )
        return Decoded((Page(np.ascontiguousarray(pixels)),), *self._metadata())

    def _metadata(self) -> tuple[Metadata, tuple[str, ...]]:
        try:
            tags = ifd.DESCRIPTIVE - {ifd.ORIENTATION} | {ifd.XMP}
            layout, found = ifd.read(self.stream, tags)
        except ValueError:  # some cameras' files are no TIFF
            return Metadata(), ("The metadata of this kind of RAW file is not copied.",)
        xmp = found.get(ifd.XMP)
        described = {tag: value for tag, value in found.items() if tag != ifd.XMP}
        exif = described.get(ifd.EXIF)
        if exif is not None and not isinstance(exif, ifd.Field):
            kept = {tag: value for tag, value in exif.items() if tag not in OF_CAMERA_JPEG}
            described[ifd.EXIF] = kept
        return Metadata(
            exif=ifd.block(described, layout) if described else None,
            xmp=without_orientation(xmp.data) if isinstance(xmp, ifd.Field) else None,
        ), ()


class HeifSource:
    """A HEIC or HEIF photo, decoded upright."""

    def __init__(self, stream: BinaryIO, _word: str) -> None:
        try:
            import pillow_heif
        except ImportError as error:
            raise ImageError("HEIC needs `pip install 'maskdcpt[heif]'`") from error
        self.stream = stream
        file: Any = pillow_heif.open_heif(stream, convert_hdr_to_8bit=False)
        self.image_count = len(file)
        self.image: Any = file[file.primary_index]
        self.info = dict(self.image.info)
        pillow_heif.set_orientation(self.info)  # to 1: the pixels come turned already
        width, height = self.image.size
        self.header = Header("heif", width, height, self.image_count)
        self.pixels = width * height

    def decode(self) -> Decoded:
        stored = np.array(self.image)
        stored = stored.reshape(*stored.shape[:2], -1)
        bits = self.info["bit_depth"]
        if stored.dtype == np.uint16:  # pillow-heif shifts the values to the left
            stored = full_range(stored >> (16 - bits), bits)
        alpha = None
        if stored.shape[2] in {2, 4}:
            stored, alpha = stored[..., :-1].copy(), stored[..., -1].copy()
            if self.image.premultiplied_alpha:
                stored = unpremultiply(stored, alpha)
        info = self.info
        icc: bytes | None = info.get("icc_profile") or None
        unknown: tuple[str, ...] = ()
        if icc is None:
            self.stream.seek(0)
            head = self.stream.read(HEAD)
            numbers = cicp.nclx_colours(head) or hevc.stated_colours(head)
            grey = stored.shape[2] == 1
            icc, unknown = cicp.from_numbers(*numbers, grey=grey) if numbers else (None, ())
        metadata = Metadata(
            (info.get("exif") or b"").removeprefix(b"Exif\0\0") or None,
            icc,
            info.get("xmp") or None,
        )
        notice = f"Only the primary one of the {self.image_count} images in the file is restored."
        notices = (notice,) if self.image_count > 1 else ()
        gain_map = any("gainmap" in name for name in info.get("aux", ()))
        announced = (GAIN_MAP,) if gain_map else ()
        return Decoded((Page(stored, alpha),), metadata, notices + announced + unknown)
