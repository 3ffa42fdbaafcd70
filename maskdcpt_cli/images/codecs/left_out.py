"""Pillow passes over what lies beside the pixels; what no result holds is found here, for notices.

Segments of JPEG files (ITU-T T.81, annex B), and what follows their pixels.
"""

import re
from typing import BinaryIO

from maskdcpt_cli.images.codecs.xmp import VIDEO

START_OF_SCAN = 0xDA  # the marker of the segment before the pixels
BEHIND_PIXELS = re.compile(rb"\0\0\0.ftyp|MotionPhoto_Data", re.DOTALL)  # MP4, and Samsung's mark


def of_jpeg(stream: BinaryIO) -> tuple[str, ...]:
    """Return notices of what a JPEG file has beside its pixels, and a result has not."""
    stream.seek(2)
    while len(head := stream.read(4)) == 4 and head[0] == 0xFF and head[1] != START_OF_SCAN:
        stream.seek(max(int.from_bytes(head[2:], "big") - 2, 0), 1)
    return (VIDEO,) if BEHIND_PIXELS.search(stream.read()) else ()
