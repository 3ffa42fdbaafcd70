"""Files that appear whole or not at all."""

import contextlib
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


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
