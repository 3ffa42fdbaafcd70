"""Pillow reads no PFM of colour; this reads PFM of colour and of grey (32-bit floats)."""

import re
from typing import BinaryIO

import numpy as np

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.photo import Decoded, Header, Metadata, Page

# Kind, width, height, and a scale whose sign is the byte order; rows come from the bottom up.
HEADER = re.compile(rb"P([Ff])\s+(\d{1,9})\s+(\d{1,9})\s+([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s")


class PfmSource:
    """A PFM file, of which the header is read."""

    def __init__(self, stream: BinaryIO, word: str) -> None:
        found = HEADER.match(stream.read(200))
        if found is None:
            raise ImageError("its header is damaged")
        self.stream, self.offset = stream, found.end()
        self.channels = 3 if found[1] == b"F" else 1
        self.dtype = "<f4" if float(found[4]) < 0 else ">f4"
        width, height = int(found[2]), int(found[3])
        self.header = Header(word, width, height, 1)
        self.pixels = width * height

    def decode(self) -> Decoded:
        self.stream.seek(self.offset)
        count = self.pixels * self.channels
        data = self.stream.read(4 * count)
        if len(data) < 4 * count:
            raise ImageError("it is cut short")
        shape = self.header.height, self.header.width, self.channels
        rows = np.frombuffer(data, self.dtype).reshape(shape)
        return Decoded((Page(rows[::-1].astype(np.float32)),), Metadata())
