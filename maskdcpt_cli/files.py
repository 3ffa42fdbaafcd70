"""Atomic writing of files: they appear complete or not at all."""

import contextlib
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from maskdcpt_cli.errors import MaskDCPTError


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Open a new file that replaces `target` once it is written and flushed.

    Until then it is beside it under a hidden name; if writing fails, it is removed and the target
    stays as it was. Raises OSError.
    """
    # The name is short, as the target's may be as long as a file system allows.
    part = target.with_name(f".{zlib.crc32(os.fsencode(target.name)):08x}-{os.getpid()}.part")
    try:
        with part.open("w+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(target)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


@contextmanager
def written(target: Path) -> Iterator[BinaryIO]:
    """Open a file as `replacing` does, and create its folder where it is missing.

    Raises MaskDCPTError with the reason.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as file:
            yield file
    except OSError as error:
        reason = error.strerror or error
        raise MaskDCPTError(f"Cannot write '{shown(target)}': {reason}.") from error


def shown(path: Path) -> str:
    """Return a path as text that can be printed, whatever bytes are in it."""
    return os.fsencode(path).decode(errors="replace")
