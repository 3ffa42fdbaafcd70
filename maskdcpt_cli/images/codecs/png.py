"""Pillow writes no PNG of 16-bit colour, and OpenCV none of grey with alpha; both are slower.

Reading of the chunks beside the pixels, some of which Pillow passes over, and writing of PNG files
at 8 or 16 bits in all their colour types (PNG, third edition).
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import BinaryIO, NamedTuple

import numpy as np

from maskdcpt_cli.images.arrays import Native
from maskdcpt_cli.images.photo import Metadata, Page

TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
PIXELS = frozenset({b"IDAT", b"fdAT"})
PROFILE = b"iCCP"
DEFLATE = b"\0"  # the one method of compression
LONGEST = 1 << 20  # bytes of a text or profile; Pillow refuses files with a longer one
LARGEST_PROFILE = 1 << 26  # bytes
COLOUR_TYPES = {(1, False): 0, (3, False): 2, (1, True): 4, (3, True): 6}
XMP_KEYWORD = b"XML:com.adobe.xmp"
UP = 2  # the filter that subtracts the row above
BAND = 1 << 22  # bytes filtered at a time


class Chunk(NamedTuple):
    """One chunk of a file."""

    name: bytes
    data: bytes
    check: bytes  # its check sum; of pixels and of a chunk that is cut short, empty

    @property
    def is_damaged(self) -> bool:
        """Whether it is no part of the pixels or header, and its check sum is wrong."""
        ancillary = self.name.isalpha() and self.name[:1].islower()
        return ancillary and self.check not in (b"", _check_sum(self.name, self.data))

    @property
    def keyword(self) -> bytes:
        """The name of a text."""
        return self.data.partition(b"\0")[0]

    @property
    def content(self) -> bytes:
        """What follows the name of a text or profile."""
        return self.data.partition(b"\0")[2]

    @property
    def is_long_text(self) -> bool:
        """Whether it is a text of more than LONGEST bytes."""
        if self.name not in TEXTS:
            return False
        packed, rest = b"", self.content
        if self.name == b"zTXt":
            packed = rest[1:]
        elif self.name == b"iTXt" and rest[:1] == b"\1":
            packed = rest[2:].split(b"\0", 2)[-1]
        return max(len(self.data), _unpacked_length(packed)) > LONGEST

    @property
    def is_refused_profile(self) -> bool:
        """Whether it is a profile for which Pillow refuses the file: long, or of another method."""
        if self.name != PROFILE:
            return False
        return self.content[:1] != DEFLATE or _unpacked_length(self.content[1:]) > LONGEST


def read_chunks(stream: BinaryIO) -> list[Chunk]:
    """Return the chunks of a file, those of pixels without their data; of a damaged one, some."""
    stream.seek(8)
    found = []
    while len(head := stream.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        data = check = b""
        if name in PIXELS:
            stream.seek(length + 4, 1)
        else:
            data, check = stream.read(length), stream.read(4)
        found.append(Chunk(name, data, check))
    return found


def is_cut_short(stream: BinaryIO) -> bool:
    """Return whether a chunk claims to go on behind the end of the file, or the last is missing."""
    end = stream.seek(0, 2)
    at = stream.seek(8)
    while len(head := stream.read(8)) == 8 and at < end:
        at += 12 + int.from_bytes(head[:4], "big")
        if at > end or head[4:] == b"IEND":
            return at > end
        stream.seek(at)
    return True


def without(stream: BinaryIO, leave_out: Callable[[Chunk], bool]) -> BytesIO:
    """Return a copy of a file without some of its chunks."""
    stream.seek(0)
    data = stream.read()
    kept, at = [data[:8]], 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        name = data[at + 4 : at + 8]
        check, content = data[end - 4 : end], data[at + 8 : end - 4]
        if not leave_out(Chunk(name, b"", b"") if name in PIXELS else Chunk(name, content, check)):
            kept.append(data[at:end])
        at = end
    return BytesIO(b"".join(kept))


def without_broken(stream: BinaryIO) -> tuple[BinaryIO, list[Chunk], tuple[str, ...]]:
    """Return a file without the metadata that stops a decoder, its other chunks, and notices.

    These are chunks with a wrong check sum, and texts of more than LONGEST bytes. A profile that
    stops a decoder is left out of the file, and is among the chunks.
    """
    chunks = read_chunks(stream)
    damaged = {chunk.name for chunk in chunks if chunk.is_damaged}
    if damaged & ANIMATION:  # the frames are numbered, so that none may be missing
        damaged |= ANIMATION & {chunk.name for chunk in chunks}
    long_texts = sum(chunk.is_long_text for chunk in chunks if not chunk.is_damaged)
    notices = []
    if damaged:
        names = ", ".join(sorted(name.decode() for name in damaged))
        notices.append(f"Damaged chunks (their check sums are wrong) are left out: {names}.")
    if long_texts:
        notices.append(f"Texts of more than 1 MiB are left out: {long_texts}.")

    def is_broken(chunk: Chunk) -> bool:
        animation = chunk.name in ANIMATION and chunk.name in damaged
        return animation or chunk.is_damaged or chunk.is_long_text

    kept = [chunk for chunk in chunks if not is_broken(chunk)]
    if notices or any(chunk.is_refused_profile for chunk in kept):
        stream = without(stream, lambda chunk: chunk.name == PROFILE or is_broken(chunk))
    return stream, kept, tuple(notices)


def profile(chunks: list[Chunk]) -> bytes | None:
    """Return the ICC profile; None where there is none, or it is damaged.

    One of more than LARGEST_PROFILE bytes is taken for damaged. One is whole, as libpng has it,
    that has the length which its first four bytes state, whatever the end of its compression.
    """
    packed = next((chunk.content for chunk in chunks if chunk.name == PROFILE), b"")
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(packed[1:], LARGEST_PROFILE)
    except zlib.error:
        return None
    stated = int.from_bytes(found[:4], "big")
    whole = unpacker.eof or 0 < stated <= len(found) < LARGEST_PROFILE
    return found or None if packed[:1] == DEFLATE and whole else None


def write(stream: BinaryIO, page: Page, metadata: Metadata) -> None:
    """Write one page of uint8 or uint16, grey or RGB, with or without alpha."""
    height, width, channels = page.pixels.shape
    colour_type = COLOUR_TYPES[channels, page.alpha is not None]
    bits = 8 * page.pixels.itemsize
    stream.write(b"\x89PNG\r\n\x1a\n")
    _chunk(stream, b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    significant = metadata.significant_bits
    fits = len(significant) == channels + (page.alpha is not None)
    if fits and all(0 < value <= bits for value in significant):
        _chunk(stream, b"sBIT", significant)
    if metadata.icc:
        _chunk(stream, PROFILE, b"ICC profile\0\0" + zlib.compress(metadata.icc))
    if metadata.dpi:
        per_metre = [round(dpi / 0.0254) for dpi in metadata.dpi]
        _chunk(stream, b"pHYs", struct.pack(">IIB", *per_metre, 1))
    if metadata.exif:
        _chunk(stream, b"eXIf", metadata.exif)
    if metadata.xmp:
        _chunk(stream, b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + metadata.xmp)
    for name, data in metadata.extras:
        _chunk(stream, name, data)
    # Runs and Huffman codes alone: of photographs as small as level 6 makes them to a tenth,
    # in a tenth of its time.
    packer = zlib.compressobj(1, strategy=zlib.Z_RLE)
    for band in _filtered(page):
        _chunk(stream, b"IDAT", packer.compress(band.data))
    _chunk(stream, b"IDAT", packer.flush())
    _chunk(stream, b"IEND", b"")


def _filtered(page: Page) -> Iterator[Native]:
    height, width, channels = page.pixels.shape
    channels += page.alpha is not None
    length = width * channels * page.pixels.itemsize
    rows = max(1, BAND // length)
    above = np.zeros(length, np.uint8)
    for top in range(0, height, rows):
        band = page.pixels[top : top + rows]
        if page.alpha is not None:
            band = np.dstack([band, page.alpha[top : top + rows]])
        raw = np.ascontiguousarray(band, dtype=band.dtype.newbyteorder(">")).view(np.uint8)
        raw = raw.reshape(len(band), length)
        filtered = np.empty((len(band), 1 + length), np.uint8)
        filtered[:, 0] = UP
        np.subtract(raw[0], above, out=filtered[0, 1:])
        np.subtract(raw[1:], raw[:-1], out=filtered[1:, 1:])
        above = raw[-1]
        yield filtered


def _unpacked_length(packed: bytes) -> int:
    """Return the length of a compressed text, counted up to LONGEST + 1; 0 of a damaged one."""
    try:
        return len(zlib.decompressobj().decompress(packed, LONGEST + 1))
    except zlib.error:
        return 0


def _chunk(stream: BinaryIO, name: bytes, data: bytes) -> None:
    stream.write(struct.pack(">I", len(data)) + name + data + _check_sum(name, data))


def _check_sum(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))
