"""Memory that the program frees, kept for its next use."""

import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
NEVER = 2**31 - 1  # bytes, as large as a threshold can be
# Above the activations of a tile, below photos; old releases of glibc take at most 32 MiB.
THRESHOLDS = (128 << 20, 32 << 20)


def keep_freed_memory() -> None:
    """Keep freed memory in the process, where the C library is glibc.

    glibc gives large blocks back to the system, and the activations of the next layer come from
    there page by page, filled with zeros first: a third of the time of `tiny` in tiles.
    """
    if sys.platform != "linux":
        return
    import ctypes

    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(M_TRIM_THRESHOLD, NEVER)
        for threshold in THRESHOLDS:
            if libc.mallopt(M_MMAP_THRESHOLD, threshold):
                break
