"""Atomic writing of files: they appear complete or not at all."""

import contextlib
import errno
import io
import os
import platform
import re
import stat
import time
import unicodedata
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO, NoReturn

from maskdcpt_cli.errors import MaskDCPTError

DAY = 86_400  # seconds


def _host() -> str:
    """Return what the numbers of processes are of: a machine, or a container on it."""
    namespace = ""
    with contextlib.suppress(OSError):  # on Linux alone
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return f"{zlib.crc32(f'{platform.node()}{namespace}'.encode()):08x}"


HOST = _host()


class _Whole(io.BufferedRandom):
    """A file that lends its descriptor to nobody.

    Pillow writes to a descriptor without looking how much of it was written, so that on a full
    disk its files would end early; a buffer writes all of it or raises OSError.
    """

    def fileno(self) -> NoReturn:
        raise io.UnsupportedOperation("fileno")


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Open a new file that replaces `target` once it is written and flushed.

    Until then it is beside it under a hidden name; if writing fails, it is removed and the target
    stays as it was. What a killed process left in the folder is removed, too. Raises OSError.
    """
    _look_into(target.parent)
    # The name is short, as the target's may be as long as a file system allows.
    part = target.with_name(f".{token_hex(4)}-{HOST}-{os.getpid()}.part")
    try:
        with io.FileIO(part, "x+") as raw, _Whole(raw) as stream:
            yield stream
            stream.flush()
            os.fsync(raw.fileno())
        part.replace(target)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


@cache
def _look_into(folder: Path) -> None:
    remove_left_over(folder)


def remove_left_over(folder: Path) -> None:
    """Remove the unfinished files of processes that have ended."""
    with contextlib.suppress(OSError):
        for part in folder.glob(".????????-????????-*.part"):
            with contextlib.suppress(OSError, ValueError):
                _, host, process = part.stem.split("-")
                aged = time.time() - part.stat().st_mtime > DAY
                if aged or (host == HOST and not _is_running(int(process))):
                    part.unlink()


def _is_running(process: int) -> bool:
    if os.name == "nt":
        return True  # there, asking would end it
    try:
        os.kill(process, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True


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


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; OSError for a pipe or a device, which may never end."""
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise OSError(errno.EINVAL, "Not a regular file", os.fspath(path))
        return path.open("rb")
    except ValueError as error:
        raise OSError(errno.EINVAL, "Not a file name", os.fspath(path)) from error


def check_inside(target: Path, folder: Path) -> None:
    """Raise MaskDCPTError if a file to write below a folder would be outside of it.

    A symbolic link in the folder, or a name with "..", may lead there.
    """
    if not Path(os.path.realpath(target)).is_relative_to(os.path.realpath(folder)):
        raise MaskDCPTError(
            f"Cannot write '{shown(target)}': it leads out of '{shown(folder)}', by a symbolic "
            "link or '..'; remove the link, or choose another folder."
        )


def expanded(name: str | Path) -> Path:
    """Return a path with the home folder for `~`, where there is one."""
    with contextlib.suppress(RuntimeError):
        return Path(name).expanduser()
    return Path(name)


def is_below(name: str) -> bool:
    """Return whether a path in a file, as a manifest, leads below the folder it starts from."""
    parts = name.replace("\\", "/").split("/")
    return ".." not in parts and parts[0] != "" and not re.match("[A-Za-z]:", name)


def shown(text: Path | str) -> str:
    """Return a path, or a text with names, that can be printed whatever is in it.

    Control characters, line breaks, marks that turn the direction of writing, and bytes that are
    not UTF-8 are written as escapes.

    >>> shown("a\nb.png")
    'a\\nb.png'
    """
    return "".join(c if is_printable(c) else _escape(c) for c in str(text))


def is_printable(character: str) -> bool:
    """Return whether a character stands for itself: also a space of another width."""
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte of a name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
