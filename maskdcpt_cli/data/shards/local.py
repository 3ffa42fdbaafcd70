"""Shards in a folder on disk."""

import errno
import os
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import shown

OPEN_FILES = 128  # of a process; half of what macOS allows


class OpenFile:
    """A file that stays open, and is read from any thread and any forked process."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._lock = threading.Lock()
        self.size = os.fstat(self._file.fileno()).st_size

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def read(self, start: int, size: int) -> bytes:
        """Read bytes; raise OSError if the file ends before."""
        data = self._read(start, size) if start + size <= self.size else b""
        if len(data) < size:
            raise OSError(errno.EINVAL, "it would end beyond its shard")
        return data

    def _read(self, start: int, size: int) -> bytes:
        if hasattr(os, "pread"):  # forked processes have one position in the file in common
            return os.pread(self._file.fileno(), size, start)
        with self._lock:
            self._file.seek(start)
            return self._file.read(size)


class LocalFiles:
    """The files beside an index on disk."""

    def __init__(self, index: Path) -> None:
        self.index = index
        self.packed_at = index.stat().st_mtime_ns if index.is_file() else 0

    def shown(self, name: str) -> str:
        """Return the path of a file, to be printed."""
        return shown(self.index.with_name(name))

    def whole(self, name: str) -> bytes:
        """Read a file; raise MaskDCPTError if it cannot be read."""
        try:
            return self.index.with_name(name).read_bytes()
        except OSError as error:
            raise MaskDCPTError(f"{self.shown(name)} cannot be read: {error.strerror}.") from error

    def array(self, name: str) -> NDArray[Any]:
        """Map the array of a file into memory, of which all processes share one copy.

        Raises FileNotFoundError, and whatever NumPy raises for a damaged file.
        """
        array: NDArray[Any] = np.load(self.index.with_name(name), mmap_mode="r")
        return array

    def check(self, name: str, least: int) -> None:
        """Raise MaskDCPTError if a shard is missing or has fewer bytes than this."""
        path = self.index.with_name(name)
        size = path.stat().st_size if path.is_file() else -1
        if size < least:
            state = "is missing" if size < 0 else "is cut short"
            raise MaskDCPTError(f"{shown(path)} {state}; pack it again, or copy it whole.")

    def read(self, name: str, start: int, size: int) -> bytes:
        """Read a part of a shard; raise OSError if it cannot be read."""
        return _opened(self.index.with_name(name), self.packed_at).read(start, size)


@lru_cache(OPEN_FILES)
def _opened(path: Path, _packed_at: int) -> OpenFile:
    """Return the open file of shards that were packed at a time; others may be there later."""
    return OpenFile(path)
