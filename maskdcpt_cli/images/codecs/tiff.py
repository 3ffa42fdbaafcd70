"""tifffile writes no Exif and GPS directories, and neither it nor Pillow reads every depth here.

Reading and writing of TIFF files: all pages, all bit depths, with those directories.
"""

import importlib.util
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import cv2
import numpy as np
import tifffile
from PIL import ImageFile, TiffImagePlugin

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.arrays import Native, full_range
from maskdcpt_cli.images.codecs import ifd
from maskdcpt_cli.images.codecs.pillow import page_from_pillow
from maskdcpt_cli.images.photo import Decoded, Header, Metadata, Page, unpremultiply

GREY_FROM_WHITE, GREY, RGB, PALETTE, SEPARATED = 0, 1, 2, 3, 5  # PhotometricInterpretation
CHANNELS = {GREY_FROM_WHITE: 1, GREY: 1, RGB: 3, SEPARATED: 4}
PHOTOMETRIC_TAG, SAMPLES_TAG, COLOUR_MAP = 262, 277, 320
UNSPECIFIED = 0  # of ExtraSamples: no alpha
DEPTHS = ("uint8", "uint16", "float16", "float32", "float64")
# None, deflate by its two numbers, PackBits and LZMA: tifffile reads the rest with imagecodecs.
OWN_CODECS = frozenset({1, 8, 32946, 32773, 34925})
OPENCV_CODECS = OWN_CODECS | {5, 6, 7}  # LZW and JPEG
OPENCV_ORDER = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}  # of channels, by their number
PHOTOMETRIC = {1: "minisblack", 3: "rgb", 4: "separated"}  # by channels
LAYERS = 37724  # ImageSourceData
RESOURCES = 34377  # of Photoshop, among them a thumbnail
THUMBNAIL, MASK = 1, 4  # of NewSubfileType
# TiffWriter refuses the tags of these directories: the unused ones beside them stand in.
STAND_INS = {ifd.EXIF: 34664, 34853: 34854, 40965: 40966}
STRIP = 1 << 20  # bytes, about
CLASSIC_LIMIT = (1 << 32) - (1 << 24)  # bytes; offsets of a larger file need BigTIFF


class PageAsStored(TiffImagePlugin.TiffImageFile):
    """A page as stored: the class of Pillow turns it upright, and limits its size."""

    def _setup(self) -> None:
        self.tag_v2.pop(ifd.ORIENTATION, None)
        samples = self.tag_v2.get(SAMPLES_TAG, 1)
        self.tag_v2.setdefault(PHOTOMETRIC_TAG, GREY if samples < 3 else RGB)
        if self.tag_v2[PHOTOMETRIC_TAG] == PALETTE:
            colours = self.tag_v2[COLOUR_MAP]
            if max(colours) < 256:  # of 8 bits, as some programs write them
                self.tag_v2[COLOUR_MAP] = tuple(value * 257 for value in colours)
        super()._setup()

    def load_prepare(self) -> None:
        ImageFile.ImageFile.load_prepare(self)

    def load_end(self) -> None:
        pass


class TiffSource:
    """A TIFF file whose directories are read."""

    def __init__(self, stream: BinaryIO, _word: str) -> None:
        self.stream = stream
        listed: Any = tifffile.TiffFile(stream).pages
        offsets: set[int] = set()
        self.frames = []
        self.has_masks = False
        for page in listed:
            if page.offset in offsets:  # tifffile would follow the loop without end
                raise ImageError("one of its directories points back to an earlier one")
            offsets.add(page.offset)
            if page.subfiletype & MASK:
                self.has_masks = True
            elif not page.subfiletype & THUMBNAIL:
                self.frames.append(page)
        if not self.frames:
            raise ImageError(f"it has no page{' but thumbnails and masks' if offsets else ''}")
        first = self.frames[0]
        self.header = Header("tiff", first.imagewidth, first.imagelength, len(self.frames))
        self.pixels = sum(frame.imagewidth * frame.imagelength for frame in self.frames)

    @property
    def has_alpha(self) -> bool:
        """Whether its first page has more channels than colours, and none that is no alpha."""
        first = self.frames[0]
        colours: int = CHANNELS.get(_photometric(first), first.samplesperpixel)
        return first.samplesperpixel > colours and UNSPECIFIED not in first.extrasamples

    def decode(self) -> Decoded:
        metadata = self._metadata()
        pages: list[Page] = []
        notices = dict.fromkeys(self._page_notices())
        for frame in self.frames:
            page, losses = self._page(frame)
            pages.append(page)
            notices |= dict.fromkeys(losses)
        return Decoded(tuple(pages), metadata, tuple(notices))

    def _metadata(self) -> Metadata:
        about = ifd.DESCRIPTIVE - (ifd.OF_PAGES if len(self.frames) > 1 else set())
        tags = about | {ifd.XMP, ifd.ICC_PROFILE, *ifd.RESOLUTION}
        layout, found = ifd.read(self.stream, tags, at=self.frames[0].offset)
        described = {tag: value for tag, value in found.items() if tag in about}
        exif = ifd.block(described, layout) if described else None
        icc, xmp = (
            value.data if isinstance(value := found.get(tag), ifd.Field) else None
            for tag in (ifd.ICC_PROFILE, ifd.XMP)
        )
        x, y, unit = (ifd.number(found, tag, layout) for tag in ifd.RESOLUTION)
        per_inch = {2: 1.0, 3: 2.54}.get(int(unit or 2))
        dpi = (x * per_inch, y * per_inch) if x and y and per_inch else None
        if dpi and not all(0 < value < ifd.MOST_DPI for value in dpi):
            dpi = None
        return Metadata(exif, icc, xmp, ifd.orientation(exif), dpi)

    def _page_notices(self) -> Iterator[str]:
        """Yield what pages have beside their pixels, and is not kept."""
        if any(LAYERS in frame.tags for frame in self.frames):
            yield "The layers of Photoshop are left out: the flattened image is restored."
        if any(RESOURCES in frame.tags for frame in self.frames):
            yield "The resources of Photoshop, as paths and guides, are left out."
        if self.has_masks:
            yield "Its transparency masks are left out."
        if len(self.frames) == 1:
            return
        if any(tag in frame.tags for frame in self.frames for tag in ifd.OF_PAGES):
            yield "The names and numbers of its pages are left out."
        turns = {frame.tags.valueof(ifd.ORIENTATION, default=1) for frame in self.frames}
        if len(turns) > 1:
            yield "Its pages differ in orientation: that of the first one counts."
        kept = (ifd.ICC_PROFILE, *ifd.RESOLUTION)
        stated = [[frame.tags.valueof(tag) for tag in kept] for frame in self.frames]
        if any(one != stated[0] for one in stated):
            yield "Its pages differ in colour profile or resolution: those of the first one count."

    def _page(self, frame: Any) -> tuple[Page, tuple[str, ...]]:
        dtype = "unknown" if frame.dtype is None else frame.dtype.name
        if dtype not in DEPTHS and dtype != "bool":
            raise ImageError(
                f"its pixels are {dtype} and those that can be restored are uint8, uint16 or float"
            )
        known = _photometric(frame) in CHANNELS and frame.imagedepth == 1
        if dtype in {"uint8", "bool"} and not (known and _readable(frame)):
            return self._by_pillow(frame)
        if not known:
            raise ImageError(
                f"its {dtype} pixels are {frame.photometric.name} "
                "and those that can be restored are grey, RGB or CMYK"
            )
        return self._samples(frame)

    def _by_pillow(self, frame: Any) -> tuple[Page, tuple[str, ...]]:
        two_planes = frame.planarconfig == 2 and frame.samplesperpixel == 2
        if two_planes and UNSPECIFIED not in frame.extrasamples:  # Pillow's alpha would be 0
            raise ImageError(_needs_imagecodecs(frame))
        self.stream.seek(0)
        try:
            image = PageAsStored(self.stream)
            image.seek(frame.index)
        except SyntaxError as error:  # Pillow has no such mode, as of CMYK with alpha
            if frame.bitspersample == 8 and _photometric(frame) in CHANNELS:
                raise ImageError(_needs_imagecodecs(frame)) from error
            raise
        page, losses = page_from_pillow(image)
        return page, losses + _extras_notice(frame.extrasamples.count(UNSPECIFIED))

    def _samples(self, frame: Any) -> tuple[Page, tuple[str, ...]]:
        if 0 in frame.databytecounts or _lacks_parts(frame):
            raise ImageError("parts of its pixels are missing")
        stored = frame.asarray() if _readable(frame) else self._by_opencv(frame)
        if frame.planarconfig == 2 and frame.samplesperpixel > 1:
            stored = np.moveaxis(stored, 0, -1)
        stored = stored.reshape(frame.imagelength, frame.imagewidth, frame.samplesperpixel)
        channels = CHANNELS[_photometric(frame)]
        if _photometric(frame) == GREY_FROM_WHITE:
            stored[..., 0] = _peak(stored.dtype) - stored[..., 0]
        pixels = np.ascontiguousarray(stored[..., :channels])
        extras = frame.samplesperpixel - channels
        if extras == 0:
            return Page(pixels), ()
        if extras > 1 or UNSPECIFIED in frame.extrasamples:  # as the infrared of scanners
            return Page(pixels), _extras_notice(extras)
        alpha = np.ascontiguousarray(stored[..., channels])
        if 1 in frame.extrasamples:
            return Page(unpremultiply(pixels, alpha), alpha), ()
        return Page(pixels, alpha), ()

    def _by_opencv(self, frame: Any) -> Native:
        """Decode a page whose compression tifffile cannot read by itself."""
        contiguous = frame.planarconfig == 1 or frame.samplesperpixel == 1
        if (
            not contiguous
            or _photometric(frame) not in {GREY, RGB}
            or frame.samplesperpixel not in OPENCV_ORDER
            or frame.dtype == np.float16
            or frame.compression not in OPENCV_CODECS
        ):
            raise ImageError(_needs_imagecodecs(frame))
        self.stream.seek(0)
        data = np.frombuffer(bytearray(self.stream.read()), np.uint8)
        if orientation := frame.tags.get(ifd.ORIENTATION):  # OpenCV would follow it
            at = orientation.valueoffset
            data[at : at + 2] = list(struct.pack(frame.parent.byteorder + "H", 1))
        _, found = cv2.imdecodemulti(
            data, cv2.IMREAD_UNCHANGED, range=(frame.index, frame.index + 1)
        )
        if not found:
            raise ImageError("its pixels cannot be decoded")
        order = OPENCV_ORDER[frame.samplesperpixel]
        stored: Native = np.atleast_3d(found[0])[..., order]
        bits: int = frame.bitspersample
        if stored.dtype == np.uint16 and bits < 16:  # OpenCV shifts the values to the left
            stored = full_range(stored >> (16 - bits), bits)
        return stored


def _readable(frame: Any) -> bool:
    """Return whether tifffile can read a page: whole bytes, in a compression it supports."""
    whole = frame.bitspersample == 8 * frame.dtype.itemsize
    own = frame.compression in OWN_CODECS and frame.predictor in {1, 2}
    return whole and (own or importlib.util.find_spec("imagecodecs") is not None)


def _needs_imagecodecs(frame: Any) -> str:
    return (
        f"its pixels ({frame.bitspersample} bits, compression {frame.compression.name}) "
        "cannot be read without `pip install imagecodecs`"
    )


def _lacks_parts(frame: Any) -> bool:
    """Return whether a page lists fewer strips or tiles than it has, nor all bytes in those."""
    needed: int = math.prod(frame.chunked)
    size: int = frame.nbytes
    return len(frame.dataoffsets) < needed and sum(frame.databytecounts) < size


def _extras_notice(count: int) -> tuple[str, ...]:
    return (f"Channels beside the colours are dropped: {count}.",) if count else ()


def _photometric(frame: Any) -> int:
    """Return the colour model of a page; without one, it is grey from black, or RGB."""
    if PHOTOMETRIC_TAG in frame.tags:
        return int(frame.photometric)
    return GREY if frame.samplesperpixel < 3 else RGB


def _peak(dtype: np.dtype[Any]) -> Any:
    return np.iinfo(dtype).max if dtype.kind == "u" else dtype.type(1)


def write(stream: BinaryIO, pages: Sequence[Page], metadata: Metadata) -> None:
    """Write all pages, deflated, each with the metadata.

    The colour profile is that of the first page: pages of other channels do not get it.
    """
    layout, described = ifd.parse_block(metadata.exif) if metadata.exif else (ifd.Layout("<"), {})
    planes = [plane for page in pages for plane in (page.pixels, page.alpha)]
    size = sum(plane.nbytes for plane in planes if plane is not None)
    layout = ifd.Layout(layout.order, big=size > CLASSIC_LIMIT)
    with tifffile.TiffWriter(stream, bigtiff=layout.big, byteorder=layout.order) as writer:
        tags = _tags(stream, {**described, **_entries(metadata)}, layout)
        without_icc = [tag for tag in tags if tag[0] != ifd.ICC_PROFILE]
        for page in pages:
            pixels = page.pixels
            like_first = pixels.shape[2] == pages[0].pixels.shape[2]
            if page.alpha is not None:
                pixels = np.dstack([pixels, page.alpha])
            writer.write(
                pixels if pixels.shape[2] > 1 else pixels[..., 0],
                photometric=PHOTOMETRIC[page.pixels.shape[2]],
                planarconfig="contig",
                extrasamples=None if page.alpha is None else ["unassalpha"],
                rowsperstrip=max(1, STRIP // pixels[0].nbytes),
                compression="zlib",
                compressionargs={"level": 1},
                predictor=pixels.dtype.kind == "u",
                resolution=metadata.dpi,
                resolutionunit="INCH" if metadata.dpi else None,
                metadata=None,
                software=False,
                extratags=tags if like_first else without_icc,
            )
    _rename_directories(stream, layout)


def _entries(metadata: Metadata) -> ifd.Directory:
    fields = ((ifd.XMP, 1, metadata.xmp), (ifd.ICC_PROFILE, ifd.UNDEFINED, metadata.icc))
    return {tag: ifd.Field(field_type, data) for tag, field_type, data in fields if data}


def _tags(
    stream: BinaryIO, directory: ifd.Directory, layout: ifd.Layout
) -> list[tuple[int, int, int, bytes, bool]]:
    """Return the entries as extratags of tifffile; directories are packed into the stream."""
    tags = []
    for tag, entry in sorted(directory.items()):
        if isinstance(entry, ifd.Field):
            field_type, data = entry.type, entry.data
        else:
            at = stream.seek(0, 2)
            at += stream.write(b"\0" * (at % 2))
            stream.write(ifd.pack(entry, layout, at))
            field_type, data = ifd.LONG8 if layout.big else ifd.LONG, struct.pack(layout.offset, at)
        tags.append((STAND_INS.get(tag, tag), field_type, 0, data, False))
    return tags


def _rename_directories(stream: BinaryIO, layout: ifd.Layout) -> None:
    stream.seek(0)
    pages: Any = tifffile.TiffFile(stream).pages
    for page in pages:
        for tag, stand_in in STAND_INS.items():
            if found := page.tags.get(stand_in):
                stream.seek(found.offset)
                stream.write(struct.pack(layout.order + "H", tag))
