"""Pairs of degraded and clean images, stored so that millions need little memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.data.augment import CropFn, full_image
from maskdcpt_cli.degradations import LABELS
from maskdcpt_cli.errors import ImageError, MaskDCPTError
from maskdcpt_cli.files import open_regular, shown
from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.images.reading import read_rgb

PIECE = 2**24  # bytes of a list that are searched together
SEPARATORS, NEWLINE = b" \t", ord("\n")


class Pair(NamedTuple):
    """A pair that was read; lq is None if it is synthesised from gt."""

    name: str  # to name it in messages
    degradation: str  # abbreviation
    gt: Pixels
    lq: Pixels | None


class Pairs(Protocol):
    """A source of pairs, with random access from any process."""

    def __len__(self) -> int: ...

    def read(self, index: int, crop_fn: CropFn = full_image) -> Pair:
        """Read a pair, or a crop of it; raise ImageError, naming the file, if it cannot be read."""
        ...

    def degradations(self) -> frozenset[str]:
        """Return the degradations of the pairs."""
        ...


@runtime_checkable
class WithScenes(Protocol):
    """A source that knows which of its pairs show one scene."""

    def scenes(self) -> NDArray[np.uint64]:
        """Return a number for the scene of each pair, which pairs of one scene have in common."""
        ...


class Names:
    """Many strings in one block of memory.

    A list of strings would need ten times as much, and again in every worker: Python writes the
    reference count of each string that is read, which copies the memory page that holds it.
    """

    def __init__(self, names: Iterable[str]) -> None:
        block = bytearray()
        bounds = np.fromiter(self._appended(names, block), np.int64)
        self._block = np.frombuffer(block, np.uint8)
        self._starts, self._ends = bounds[:-1], bounds[1:]

    @classmethod
    def within(
        cls, block: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> "Names":
        """Return the strings between these bytes of a block, without copying any."""
        names = cls.__new__(cls)
        names._block, names._starts, names._ends = block, starts, ends
        return names

    @staticmethod
    def _appended(names: Iterable[str], block: bytearray) -> Iterator[int]:
        yield 0
        for name in names:
            block += name.encode(errors="surrogateescape")
            yield len(block)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(index)
        name = self._block[self._starts[index] : self._ends[index]]
        return name.tobytes().decode(errors="surrogateescape")

    def take(self, indices: NDArray[np.intp]) -> "Names":
        """Return the strings at these indices, without copying any."""
        return Names.within(self._block, self._starts[indices], self._ends[indices])


@dataclass(frozen=True)
class FilePairs:
    """Pairs of image files, or clean files that are degraded when they are read."""

    root: Path  # names are relative to it
    gt: Names
    lq: Names | None  # as many as gt; None: synthesised from gt
    degradation: str | NDArray[np.uint8]  # of all, or of each as its position in labels()
    max_pixels: int | None = MAX_PIXELS  # larger images are refused; None: no limit
    known_scenes: NDArray[np.uint64] | None = None  # of each pair; None: by the path of gt

    def __len__(self) -> int:
        return len(self.gt)

    def read(self, index: int, crop_fn: CropFn = full_image) -> Pair:
        gt = self.read_file(self.gt[index])
        name = (self.lq or self.gt)[index]
        lq = None if self.lq is None else self.read_file(name)
        if lq is not None and lq.shape != gt.shape:
            raise ImageError(
                f"{shown(name)} is {lq.shape[1]}x{lq.shape[0]} pixels, but its clean image "
                f"{shown(self.gt[index])} {gt.shape[1]}x{gt.shape[0]}."
            )
        crop = crop_fn(*gt.shape[:2])
        return Pair(
            name, self.degradation_of(index), crop.of(gt), None if lq is None else crop.of(lq)
        )

    def read_file(self, name: str) -> Pixels:
        """Read an image below the root; raises ImageError, which names the file."""
        return read_rgb(self.root / name, max_pixels=self.max_pixels)

    def degradation_of(self, index: int) -> str:
        """Return the abbreviation of the degradation of a pair."""
        if isinstance(self.degradation, str):
            return self.degradation
        return labels()[int(self.degradation[index])]

    def scenes(self) -> NDArray[np.uint64]:
        """Return a number for the scene of each pair, which pairs of one scene have in common."""
        if self.known_scenes is not None:
            return self.known_scenes
        names = (self.gt[index] for index in range(len(self)))
        return np.fromiter(map(scene_of_file, names), np.uint64, len(self))

    def degradations(self) -> frozenset[str]:
        if isinstance(self.degradation, str):
            return frozenset({self.degradation})
        known = labels()
        return frozenset(known[code] for code in np.unique(self.degradation))


def scene(path: str) -> int:
    """Return the number of the scene that a path without suffix stands for."""
    return hashed(path.encode(errors="surrogateescape"))


def scene_of_file(name: str) -> int:
    """Return the number of the scene of a file that is the only one to show it."""
    folder, slash, file = name.rpartition("/")
    stem, _, suffix = file.rpartition(".")
    return scene(f"{folder}{slash}{stem or suffix}")


def hashed(text: bytes) -> int:
    """Return a hash of 64 bits.

    In place of strings, as millions of them would need gigabytes; that two of 2.5 million are the
    same by chance has a probability of one in six million.
    """
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def scenes_of(pairs: Pairs) -> NDArray[np.uint64]:
    """Return a number for the scene of each pair; a source that knows none has one for each."""
    if isinstance(pairs, WithScenes):
        return pairs.scenes()
    return np.arange(len(pairs), dtype=np.uint64)


def labels() -> tuple[str, ...]:
    """Return all labels: the degradation of a pair is stored as its position among them."""
    return tuple(LABELS)


def read_list(path: Path) -> tuple[Names, Names | None]:
    """Read the names in a text file, a line `gt lq` each, or gt alone on every line.

    A space or a tab separates the two; empty lines are skipped. Millions of lines are read at the
    speed of the disk.

    Raises MaskDCPTError for a file that cannot be read, and for a line of another form.
    """
    try:
        with open_regular(path) as file:
            block = np.fromfile(file, np.uint8)
    except OSError as error:
        raise MaskDCPTError(f"{shown(path)} cannot be read: {error.strerror}.") from error
    ends = np.append(_positions(block, bytes([NEWLINE])), len(block))
    starts = np.append(0, ends[:-1] + 1)
    ends -= (ends > starts) & (block[ends - 1] == ord("\r")) if len(block) else 0
    lines = np.flatnonzero(ends > starts)
    starts, ends = starts[lines], ends[lines]
    gaps = _positions(block, SEPARATORS)
    if len(outside := _leading_out(block, starts, gaps)):
        line = lines[np.searchsorted(starts, outside.min(), side="right") - 1] + 1
        raise MaskDCPTError(
            f"{shown(path)}, line {line}: a path leads out of the folder that the paths of the "
            "list start from; they are relative to it, without '..'."
        )
    if not len(gaps):
        return Names.within(block, starts, ends), None
    first, last = np.searchsorted(gaps, starts), np.searchsorted(gaps, ends)
    wrong = np.flatnonzero(last - first != 1)
    if len(wrong):
        raise MaskDCPTError(
            f"{shown(path)}, line {lines[wrong[0]] + 1}: neither the one name of a clean image "
            "nor `gt lq`, two names with a space or a tab between them, as on the other lines."
        )
    between = gaps[first]
    return Names.within(block, starts, between), Names.within(block, between + 1, ends)


def _leading_out(
    block: NDArray[np.uint8], starts: NDArray[np.int64], gaps: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the positions of absolute paths, and of '..' in paths."""
    edges = list(SEPARATORS + b"\r\n/")
    last = len(block) - 1
    dots = _positions(block, b".")
    dots = dots[:-1][np.diff(dots) == 1]  # the first of two
    begins = (dots == 0) | np.isin(block[dots - 1], edges)
    ends = (dots + 1 == last) | np.isin(block[np.minimum(dots + 2, last)], edges)
    names = np.append(starts, np.minimum(gaps + 1, last))
    return np.append(dots[begins & ends], names[block[names] == ord("/")])


def _positions(block: NDArray[np.uint8], characters: bytes) -> NDArray[np.int64]:
    """Return the positions of any of the characters, found piece by piece to save memory."""
    found = [
        start + np.flatnonzero(np.isin(block[start : start + PIECE], list(characters)))
        for start in range(0, len(block), PIECE)
    ]
    return np.concatenate(found) if found else np.empty(0, np.int64)
