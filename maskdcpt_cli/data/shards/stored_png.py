"""PNG files without compression, of which a part is read without decoding the rest.

Every row is a stored block of Deflate of its own (RFC 1951, 3.2.4). All rows are then equally far
apart: the file is an array with a few bytes before each row, and any reader of PNG reads it.

PPM would need no code and is a fifth faster to read, but zeros in a damaged file would pass for
black pixels there; here the bytes before each row expose them.
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.data.augment import Crop
from maskdcpt_cli.images.arrays import Pixels

MAX_WIDTH = (2**16 - 2) // 3  # pixels of a row that a stored block has room for
SIGNATURE = b"\x89PNG\r\n\x1a\n"
ZLIB_HEADER = b"\x78\x01"
CHUNK = 12  # bytes around the data of a chunk: length, type, CRC
FIRST_ROW = len(SIGNATURE) + CHUNK + 13 + 8 + len(ZLIB_HEADER)  # 13: IHDR; 8: length, type
AFTER_ROWS = 4 + 4 + CHUNK  # Adler-32, the CRC of IDAT, IEND
BEFORE_ROW = 6  # is-this-the-last, length, its complement, and PNG's type of filter


def encode(pixels: Pixels) -> bytes:
    """Return pixels as a PNG file; at most MAX_WIDTH wide."""
    height, width = pixels.shape[:2]
    rows = np.empty((height, _row_bytes(width)), np.uint8)
    rows[:, :BEFORE_ROW] = _before_row(width)
    rows[-1, 0] = 1  # the last block says so
    rows[:, BEFORE_ROW:] = pixels.reshape(height, -1)
    checksum = zlib.adler32(rows[:, BEFORE_ROW - 1 :].tobytes())
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB, not interlaced
    data = ZLIB_HEADER + rows.tobytes() + checksum.to_bytes(4, "big")
    return SIGNATURE + b"".join(
        _chunk(*chunk) for chunk in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    )


def size_of(height: int, width: int) -> int:
    """Return the size of a file in bytes."""
    return FIRST_ROW + height * _row_bytes(width) + AFTER_ROWS


def span(crop: Crop, *, width: int) -> tuple[int, int]:
    """Return the position and the number of bytes of the rows of a crop."""
    each = _row_bytes(width)
    return FIRST_ROW + crop.top * each, crop.height * each


def crop_rows(data: bytes, crop: Crop, *, width: int) -> Pixels | None:
    """Return the crop, as a view of the bytes at its `span`; None if they are not its rows."""
    each = _row_bytes(width)
    if len(data) != crop.height * each:
        return None
    rows = np.frombuffer(data, np.uint8).reshape(crop.height, each)
    if (rows[:, 1:BEFORE_ROW] != _before_row(width)[1:]).any():
        return None
    pixels = rows[:, BEFORE_ROW:].reshape(crop.height, width, 3)
    return pixels[:, crop.left : crop.left + crop.width]


def _row_bytes(width: int) -> int:
    return BEFORE_ROW + 3 * width


def _before_row(width: int) -> NDArray[np.uint8]:
    length = 3 * width + 1
    return np.frombuffer(struct.pack("<BHHB", 0, length, length ^ 0xFFFF, 0), np.uint8)


def _chunk(chunk_type: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(data, zlib.crc32(chunk_type))
    return struct.pack(">I", len(data)) + chunk_type + data + struct.pack(">I", checksum)
