"""Pillow makes room for a WebP as it opens it, and has a limit of its own: this reads the header.

Reading of WebP; Pillow decodes it.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.codecs.pillow import PillowSource
from maskdcpt_cli.images.photo import Decoded, Header

RIFF_HEADER = 12  # bytes
LOSSY_START, LOSSLESS_START = b"\x9d\x01\x2a", 0x2F


class WebpSource:
    """A WebP file of which the header is read."""

    def __init__(self, stream: BinaryIO, word: str) -> None:
        self.stream = stream
        frames = sum(name == b"ANMF" for name in _chunks(stream))
        stream.seek(RIFF_HEADER)
        width, height = _size(stream.read(18))
        self.header = Header(word, width, height, max(frames, 1))
        self.pixels = width * height

    def decode(self) -> Decoded:
        self.stream.seek(0)
        source = PillowSource(self.stream, self.header.format)
        if (source.header.width, source.header.height) != (self.header.width, self.header.height):
            raise ImageError("its header is damaged")
        return source.decode()


def _size(chunk: bytes) -> tuple[int, int]:
    """Return width and height by the beginning of the first chunk."""
    name, data = chunk[:4], chunk[8:]
    if name == b"VP8 " and data[3:6] == LOSSY_START and len(data) == 10:
        width, height = struct.unpack("<HH", data[6:10])
        return width & 0x3FFF, height & 0x3FFF
    if name == b"VP8L" and len(data) >= 5 and data[0] == LOSSLESS_START:
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if name == b"VP8X" and len(data) == 10:
        return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1
    raise ImageError("its header is damaged")


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the names of the chunks."""
    stream.seek(RIFF_HEADER)
    while len(head := stream.read(8)) == 8:
        yield head[:4]
        length = int.from_bytes(head[4:], "little")
        stream.seek(length + length % 2, 1)
