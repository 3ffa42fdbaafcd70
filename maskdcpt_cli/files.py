"""Files that appear whole or not at all."""

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
    """A new file that takes the place of `target` once it is written and flushed.

    Until then it lies beside it under a hidden name; when writing fails, for whatever reason, it
    goes and the target stays as it was. Raises OSError.
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
    """As `replacing`, for a file that somebody asked for: its folder is made where it is missing.

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
    """A path as text that can be printed whatever bytes are in it."""
    return os.fsencode(path).decode(errors="replace")
