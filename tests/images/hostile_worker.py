"""The program of a worker whose decoders hang, crash, or take memory, as a file's content says.

A file of these is a BMP by its first bytes; what follows says what its decoder does.
"""

import ctypes
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.images import limits, reading, worker_main
from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.images.photo import Decoded, Header

PROGRAM = __name__


def spin() -> None:
    pow(3, 10**10)  # in C, with the lock of the interpreter held


def wait() -> None:
    ctypes.PyDLL(None).pause()


def wait_for_long() -> None:
    """Let the test know that it hangs, and hang, with no limit."""
    signal.alarm(0)
    Path("hung").write_text(str(os.getpid()), encoding="ascii")
    wait()


def crash() -> None:
    ctypes.string_at(0)


def allocate() -> None:
    kept = []
    while True:
        kept.append(np.ones(1 << 24))


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


DECODERS: Mapping[str, Callable[[], None]] = {
    "spin": spin,
    "wait": wait,
    "wait for long": wait_for_long,
    "crash": crash,
    "allocate": allocate,
    "be killed": be_killed,
}


class HostileSource:
    """A file whose decoder does what its content says, as its header is read or later."""

    def __init__(self, stream: BinaryIO, word: str) -> None:
        self.header, self.pixels = Header(word, 8, 8, 1), 64
        when, _, what = stream.read()[2:].decode().partition(":")
        self.run = DECODERS[what]
        if when == "header":
            self.run()

    def decode(self) -> Decoded:
        self.run()
        raise AssertionError("it has returned")


def decode(data: NDArray[np.uint8], flags: int) -> Pixels:
    """Decode as OpenCV does, but for hostile files."""
    stream = BytesIO(data.tobytes())
    if stream.read(2) == b"BM":
        stream.seek(0)
        HostileSource(stream, "bmp").decode()
    return np.asarray(cv2.imdecode(data, flags), np.uint8)


def write_hostile(path: Path, what: str, *, when: str = "pixels") -> None:
    path.write_bytes(f"BM{when}:{what}".encode())


def hung_process() -> int:
    """Return the process that waits for long in this folder, as soon as it does."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError, ValueError):
            return int(Path("hung").read_text(encoding="ascii"))
        time.sleep(0.01)
    raise AssertionError("no decoder hangs")


def main() -> None:
    """Serve as a worker does, with short limits."""
    limits.SECONDS = 1
    limits.CLOCK = 2
    limits.MEMORY = 1 << 28
    pattern = reading.SIGNATURES["bmp"][0]
    signatures = {**reading.SIGNATURES, "bmp": (pattern, HostileSource)}
    reading.SIGNATURES = MappingProxyType(signatures)
    reading.cv2 = SimpleNamespace(**{**vars(cv2), "imdecode": decode})
    worker_main.main()
