"""Memory that the program frees is kept for its next use."""

import ctypes
import subprocess
import sys

import pytest

BLOCK = 64 << 20  # bytes, as the activations of a tile: glibc gives it back at once
USE_TWICE = f"""
import ctypes, resource
from maskdcpt_cli.cli import main

def use():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc({BLOCK})
    libc.memset(block, 1, {BLOCK})
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = libc.free.argtypes = [ctypes.c_size_t]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
RUN
print(use(), use())
"""
RUN = 'main(["presets"], standalone_mode=False)'


def faults(run: str) -> tuple[int, int]:
    """Page faults of the first and the second use of a block in a process."""
    script = USE_TWICE.replace("RUN", run)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    first, second = map(int, done.stdout.split()[-2:])
    return first, second


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"),
    reason="glibc alone gives freed memory back in this way",
)
def test_a_block_that_is_freed_is_used_again_without_page_faults():
    pages = BLOCK // 2**21  # at least, if the system has huge pages alone
    first, second = faults("")
    assert min(first, second) >= pages
    first, second = faults(RUN)
    assert second < pages <= first
