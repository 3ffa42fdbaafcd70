"""Pillow passes over what lies beside the pixels; what no result holds is found here, for notices.

Segments of JPEG files (ITU-T T.81, annex B) and what follows their pixels; private chunks of PNG.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import BinaryIO

from maskdcpt_cli.images.codecs.png import ANIMATION, Chunk
from maskdcpt_cli.images.codecs.xmp import GAIN_MAP, VIDEO

START_OF_SCAN = 0xDA  # the marker of the segment before the pixels
APP0 = 0xE0  # the first of 16 markers
OF_APPLICATIONS = range(3, 12)  # APP3 to APP11; the others are known, and read or trifles
# Of MP4 and QuickTime, and Samsung's mark.
BEHIND_PIXELS = re.compile(
    rb"\0\0\0.ftyp(?:mp4|iso|avc|qt  |MSNV|3gp|M4V)|MotionPhoto_Data", re.DOTALL
)
ISO_GAIN_MAP = b"urn:iso:std:iso:ts:21496"
CREDENTIALS = "content credentials (C2PA)"
PAGES = frozenset({b"vpAg", b"caNv", b"orNT"})  # of ImageMagick: sizes and orientation
MOST_NAMES = 5  # in a notice
# What cameras note for themselves, and previews, as a thumbnail is.
TRIFLES = (b"\x1aQualcomm", b"Qualcomm", b"QTI", b"ssuniqueid", b"SPIFF\0", b"\xff\xd8")


def of_jpeg(stream: BinaryIO) -> tuple[str, ...]:
    """Return notices of what a JPEG file has beside its pixels, and a result has not."""
    segments = list(_segments(stream))
    has_credentials = any(number == 11 and b"c2pa" in data for number, data in segments)
    names = (_application(*one, has_credentials=has_credentials) for one in segments)
    notices = _notice(filter(None, names))
    if any(number == 2 and data.startswith(ISO_GAIN_MAP) for number, data in segments):
        notices += (GAIN_MAP,)
    return (*notices, VIDEO) if BEHIND_PIXELS.search(stream.read()) else notices


def of_png(chunks: Iterable[Chunk]) -> tuple[str, ...]:
    """Return a notice of the private chunks of a PNG file, which no result has."""
    names = (chunk.name for chunk in takewhile(lambda chunk: chunk.name != b"IEND", chunks))
    private = (name for name in names if name.isalpha() and name[1:2].islower())
    return _notice(
        CREDENTIALS if name == b"caBX" else f"private chunk {name.decode()}"
        for name in private
        if name not in ANIMATION | PAGES
    )


def _segments(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the segments of applications before the pixels, the number and the content of each."""
    stream.seek(2)
    while len(head := stream.read(4)) == 4 and head[0] == 0xFF and head[1] != START_OF_SCAN:
        yield head[1] - APP0, stream.read(max(int.from_bytes(head[2:], "big") - 2, 0))


def _application(number: int, data: bytes, *, has_credentials: bool) -> str | None:
    """Return a name of the content of a segment that no result has."""
    if number == 1 and data.startswith(b"FLIR\0"):
        return "thermal data of FLIR"
    if number == 11 and data.startswith(b"JP") and has_credentials:  # of several segments
        return CREDENTIALS
    if number not in OF_APPLICATIONS or data.startswith(TRIFLES):
        return None
    return f"application data (APP{number})"


def _notice(names: Iterable[str]) -> tuple[str, ...]:
    distinct = list(dict.fromkeys(names))
    listed = ", ".join(distinct[:MOST_NAMES])
    if len(distinct) > MOST_NAMES:
        listed += f" and {len(distinct) - MOST_NAMES} more"
    return (f"Content beside the pixels is left out: {listed}.",) if listed else ()
