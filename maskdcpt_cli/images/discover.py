"""Discovery of input files, by name alone: no file is opened."""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from maskdcpt_cli.files import shown
from maskdcpt_cli.images.contact_sheets import is_sheet
from maskdcpt_cli.images.formats import IMAGE_SUFFIXES

FileIdentity = tuple[int, int] | Path

WILDCARD = re.compile(r"[*?[]")


class Missing(NamedTuple):
    """An input that does not exist, or a folder that cannot be listed."""

    path: Path
    reason: str


@dataclass(frozen=True)
class InputFile:
    """A file that an input names."""

    source: Path
    folder: Path  # its folder, symbolic links resolved
    below: Path = Path()  # its folder, relative to the input
    root: Path | None = None  # the folder it was found under, resolved; None when named itself

    @property
    def is_image(self) -> bool:
        return self.root is None or self.source.suffix.lower() in IMAGE_SUFFIXES

    def is_output(self, out: Path) -> bool:
        """Return whether it is in the (resolved) output folder, or is a sheet or a map."""
        if self.root is None:
            return False
        within = self.folder.is_relative_to(out) and not self.root.is_relative_to(out)
        return within or self.is_sheet

    @property
    def is_sheet(self) -> bool:
        """True for a before/after sheet or a heat map of an earlier run."""
        return self.root is not None and is_sheet(self.source.name)


def discover(inputs: Sequence[str], *, recursive: bool) -> tuple[list[InputFile], list[Missing]]:
    """Return the files that `inputs` name, each once, in order, and the missing ones.

    An input is a file, a folder, or a glob pattern; of several folders each keeps its name.
    """
    found: dict[Path, InputFile] = {}
    problems: list[Missing] = []
    several = sum(is_folder(Path(text)) for text in inputs) > 1
    for text in inputs:
        for item in _expand(Path(text), keep_name=several, recursive=recursive):
            if isinstance(item, Missing):
                problems.append(item)
            else:
                found.setdefault(item.folder / item.source.name, item)
    return list(found.values()), problems


def discover_photos(
    inputs: Sequence[str], *, recursive: bool
) -> tuple[list[InputFile], list[Missing]]:
    """Return images alone, as discover does: without other files, sheets and maps in folders."""
    found, missing = discover(inputs, recursive=recursive)
    photos: list[InputFile] = []
    for one in found:
        if not one.is_image or one.is_sheet:
            continue
        if reason := why_unreadable(one.source):
            missing.append(Missing(one.source, reason))
        else:
            photos.append(one)
    return photos, missing


def _expand(path: Path, *, keep_name: bool, recursive: bool) -> Iterator[InputFile | Missing]:
    if is_folder(path):
        root = real(path)
        below = Path(root.name) if keep_name else Path()
        yield from _walk(path, below, root=root, recursive=recursive, visited=set())
    elif os.path.lexists(path) or not WILDCARD.search(str(path)):
        yield InputFile(path, real(path.parent))
    else:
        yield from _glob(path, recursive=recursive)


def _walk(
    folder: Path, below: Path, *, root: Path, recursive: bool, visited: set[Path]
) -> Iterator[InputFile | Missing]:
    resolved = real(folder)
    if resolved in visited:  # a symbolic link back up
        return
    visited.add(resolved)
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        yield Missing(folder, f"Cannot list the folder '{shown(folder)}': {error.strerror}.")
        return
    for entry in entries:
        if entry.name.startswith("."):  # hidden, as unfinished results are
            continue
        if is_folder(entry):
            if recursive:
                inner = below / entry.name
                yield from _walk(entry, inner, root=root, recursive=recursive, visited=visited)
        else:
            yield InputFile(entry, resolved, below, root)


def _glob(pattern: Path, *, recursive: bool) -> Iterator[InputFile | Missing]:
    """Yield the matches of a pattern; its part without wildcards is the root of the tree."""
    plain = next(i for i, part in enumerate(pattern.parts) if WILDCARD.search(part))
    top = Path(*pattern.parts[:plain])
    root, visited = real(top), set[Path]()
    matches = sorted(top.glob(str(Path(*pattern.parts[plain:]))))
    if not matches:
        yield Missing(pattern, f"No file matches '{shown(pattern)}'.")
    for match in matches:
        below = match.relative_to(top)
        if any(part.startswith(".") for part in below.parts):
            continue
        if is_folder(match):
            yield from _walk(match, below, root=root, recursive=recursive, visited=visited)
        else:
            yield InputFile(match, real(match.parent), below.parent, root)


def why_unreadable(source: Path) -> str | None:
    """Return why this is not a readable file, as far as its status shows; None if it is."""
    try:
        is_file = stat.S_ISREG(source.stat().st_mode)
    except FileNotFoundError:
        return f"'{shown(source)}' does not exist."
    except OSError as error:
        return f"Cannot read '{shown(source)}': {error.strerror}."
    return None if is_file else f"'{shown(source)}' is not a file."


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder; False where its parent may not be entered."""
    try:
        return path.is_dir()
    except OSError:
        return False


def real(path: Path) -> Path:
    """Return the path with symbolic links resolved, whether it exists or not."""
    return Path(os.path.realpath(path))


def identity(path: Path) -> FileIdentity:
    """Return a key that is equal for two names of one file: links, or another case."""
    try:
        status = path.stat()
    except OSError:
        return real(path)
    return status.st_dev, status.st_ino


def ignores_case(folder: Path) -> bool:
    """Return whether names that differ in case are one file in a folder, which may be missing."""
    for one in (real(folder), *real(folder).parents):
        if is_folder(one) and one.name.swapcase() != one.name:
            return identity(one.with_name(one.name.swapcase())) == identity(one)
    return False
