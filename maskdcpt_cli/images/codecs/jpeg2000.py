"""Pillow reads neither the profile nor the depth of a JPEG 2000 file: here its boxes are read.

ISO/IEC 15444-1, Annex A (codestream) and Annex I (boxes).
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

CODESTREAM_START = b"\xff\x4f\xff\x51"  # the markers SOC and SIZ
DEPTH_AT = 42  # offset of the depth of the first component from there
PROFILE_METHODS = (2, 3)  # of the box colr: an ICC profile
PROFILE_AT = 3  # its offset in that box
METADATA = frozenset({b"uuid", b"xml "})  # XMP, EXIF and others


class Box(NamedTuple):
    """A box of a file, whose content is from `start` to `end`."""

    name: bytes
    start: int
    end: int


def boxes(stream: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two offsets; those of a damaged file up to the damage."""
    while start + 8 <= end:
        stream.seek(start)
        length, name = struct.unpack(">I4s", stream.read(8))
        content = start + 8
        if length == 1:
            length = int.from_bytes(stream.read(8), "big")
            content += 8
        after = start + length if length else end
        if not content <= after <= end:
            return
        yield Box(name, content, after)
        start = after


def read_boxes(stream: BinaryIO) -> list[Box]:
    """Return the boxes of a file, and those in its header; none of a bare codestream."""
    end = stream.seek(0, 2)
    stream.seek(0)
    if stream.read(4) == CODESTREAM_START:
        return []
    found = list(boxes(stream, 0, end))
    headers = [box for box in found if box.name == b"jp2h"]
    return [*found, *(one for box in headers for one in boxes(stream, box.start, box.end))]


def bits(stream: BinaryIO) -> int | None:
    """Return the bits of a sample of the first component; None where that is not found."""
    starts = [box.start for box in read_boxes(stream) if box.name == b"jp2c"] or [0]
    stream.seek(starts[0])
    head = stream.read(DEPTH_AT + 1)
    if not head.startswith(CODESTREAM_START) or len(head) <= DEPTH_AT:
        return None
    return (head[DEPTH_AT] & 0x7F) + 1


def profile(stream: BinaryIO) -> bytes | None:
    """Return the ICC profile; None where the file has none."""
    for box in read_boxes(stream):
        if box.name == b"colr":
            stream.seek(box.start)
            content = stream.read(box.end - box.start)
            if content[:1] and content[0] in PROFILE_METHODS:
                return content[PROFILE_AT:]
    return None


def has_metadata(stream: BinaryIO) -> bool:
    """Return whether there are boxes of metadata."""
    return any(box.name in METADATA for box in read_boxes(stream))
