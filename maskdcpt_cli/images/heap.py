"""The memory that the process frees, which glibc keeps for its next use."""

import ctypes
import sys
from typing import NamedTuple

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of <malloc.h>
OLD_LIMIT = 32 << 20  # bytes: old releases of glibc take no larger M_MMAP_THRESHOLD


class Kept(NamedTuple):
    """What is kept of freed memory, in bytes."""

    size: int  # all that is free
    block: int  # the largest block
    pad: int | None = None  # what is taken in advance; None as glibc does


IMAGES = Kept(2**30, block=2**30, pad=2**26)
SMALL_PHOTOS = Kept(2**25, block=2**25, pad=2**25)  # and nothing of large ones
# The size is as large as it can be; the block is above the activations of a tile, below photos.
ACTIVATIONS = Kept(2**31 - 1, block=128 << 20)


def keep_freed_memory(kept: Kept = IMAGES) -> None:
    """Keep freed memory in the process, where the C library is glibc.

    glibc gives large blocks back to the system, and those of the next image or of the next layer
    come from there page by page, filled with zeros first: a quarter of the time of most
    degradations, two thirds of decoding small photos, a third of `tiny` in tiles.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return
    libc.mallopt(M_TRIM_THRESHOLD, kept.size)
    if not libc.mallopt(M_MMAP_THRESHOLD, kept.block):
        libc.mallopt(M_MMAP_THRESHOLD, OLD_LIMIT)
    if kept.pad is not None:
        libc.mallopt(M_TOP_PAD, kept.pad)
