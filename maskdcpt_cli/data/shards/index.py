"""Tar shards of crops, as `maskdcpt data pack` writes them: their index, and random access."""

import json
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path
from tarfile import TarError, TarInfo
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.data.augment import Crop, CropFn, full_image
from maskdcpt_cli.data.pairs import Pair, scene_of_file
from maskdcpt_cli.data.shards import stored_png
from maskdcpt_cli.data.shards.local import LocalFiles
from maskdcpt_cli.data.shards.remote import RemoteFiles
from maskdcpt_cli.degradations import LABELS
from maskdcpt_cli.errors import ImageError, MaskDCPTError
from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.images.reading import decode_rgb

INDEX = "index.json"  # which shards there are
RECORDS = "index.npy"  # position of each sample in them, a RECORD each
SCENES = "scenes.npy"  # number of the scene of each; shards of earlier versions have none
MEMBER_HEADER = 512  # bytes, of which those of a file in a tar are a multiple, too
FORMAT = 1
MALFORMED = (ValueError, TypeError, LookupError, AttributeError)  # of what JSON may hold instead
FILE_NAME = re.compile(r"[\w-][\w.-]*\.tar", re.ASCII)
RECORD = np.dtype(
    [
        ("gt_start", "<u8"),  # in its shard, in bytes
        ("lq_start", "<u8"),
        ("gt_size", "<u4"),
        ("lq_size", "<u4"),  # 0: there is none
        ("height", "<u4"),
        ("width", "<u4"),
    ]
)


@dataclass(frozen=True)
class Shard:
    """A tar file.

    Raises ValueError for a name that is not that of a file beside the index, as an index from
    elsewhere may have it, and for other values that no index has.
    """

    file: str  # name, as haze-000000.tar
    samples: int
    degradation: str | None  # of all its pairs; None: of clean crops

    def __post_init__(self) -> None:
        valid = FILE_NAME.fullmatch(self.file) and isinstance(self.samples, int)
        if not valid or self.samples < 0 or self.degradation not in (None, *LABELS):
            raise ValueError(self)

    def key(self, number: int) -> str:
        """Return the key of a sample, with which the names of its members begin."""
        return f"{Path(self.file).stem}-{number:06}"


def dump_index(shards: list[Shard]) -> bytes:
    """Return the index of shards as a file."""
    lines = ",\n".join(json.dumps(asdict(shard)) for shard in shards)
    return f'{{"format": {FORMAT}, "shards": [\n{lines}\n]}}\n'.encode()


def parse_index(data: bytes, *, name: str) -> tuple[Shard, ...]:
    """Return the shards of an index; raise MaskDCPTError, with its name, for another file."""
    try:
        content = json.loads(data)
        version = content["format"]
        shards = tuple(Shard(**shard) for shard in content["shards"]) if version == FORMAT else ()
    except (ValueError, TypeError, KeyError) as error:
        raise MaskDCPTError(
            f"{name} is not an index of shards: `maskdcpt data pack` writes one, {INDEX}."
        ) from error
    if version != FORMAT:
        raise MaskDCPTError(
            f"{name} is of format {version}, and this version of maskdcpt reads {FORMAT}: "
            "pack again, or use the version that packed."
        )
    return shards


def choose(
    shards: tuple[Shard, ...], *, degradation: str | None, clean: bool, name: str
) -> tuple[Shard, ...]:
    """Return the shards of clean crops, or of the pairs of a degradation (None: of any)."""
    degradations = {None} if clean else {degradation} if degradation else set(LABELS)
    chosen = tuple(shard for shard in shards if shard.degradation in degradations and shard.samples)
    if chosen:
        return chosen
    held = sorted({shard.degradation or "clean crops" for shard in shards})
    what = "clean crops" if clean else f"pairs of {degradation}" if degradation else "pairs"
    raise MaskDCPTError(f"{name} has no {what}; it has: {', '.join(held) or 'nothing'}.")


class ShardFiles(Protocol):
    """An index and the files beside it, on disk or elsewhere."""

    packed_at: int  # time of the index; 0: unknown

    def shown(self, name: str) -> str: ...

    def whole(self, name: str) -> bytes: ...

    def array(self, name: str) -> NDArray[Any]: ...

    def check(self, name: str, least: int) -> None: ...

    def read(self, name: str, start: int, size: int) -> bytes: ...


class ShardPairs:
    """Pairs in shards, with random access.

    Crops that are not compressed are not even read as a whole. The index of shards on disk is
    memory-mapped: all processes share one copy of it.
    """

    def __init__(
        self,
        index: Path | str,
        degradation: str | None = None,
        *,
        clean: bool = False,
        max_pixels: int | None = MAX_PIXELS,
    ) -> None:
        """Open all pairs of an index.json, a path or an address, or those of a degradation.

        With `clean` these are the clean crops, to be degraded by the degradation. Larger ones than
        `max_pixels` are refused when they are read; None for no limit.

        Raises MaskDCPTError if there are none, or if shards are missing or of another size.
        """
        self.files: ShardFiles = (
            LocalFiles(index) if isinstance(index, Path) else RemoteFiles(index, name=INDEX)
        )
        self.degradation = degradation
        self.clean = clean
        self.max_pixels = max_pixels
        name = self.files.shown(INDEX)
        if clean and degradation is None:
            raise MaskDCPTError(f"{name}: give the degradation of the clean crops.")
        everything = parse_index(self.files.whole(INDEX), name=name)
        self.shards = choose(everything, degradation=degradation, clean=clean, name=name)
        before = accumulate((shard.samples for shard in everything), initial=0)
        firsts = dict(zip((shard.file for shard in everything), before, strict=False))
        self._firsts = tuple(firsts[shard.file] for shard in self.shards)
        self._ends = tuple(accumulate(shard.samples for shard in self.shards))
        self._samples = sum(shard.samples for shard in everything)
        self._check()

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if isinstance(state.get("_records"), np.memmap):
            del state["_records"]  # a mapped array would be sent by value
        return state

    @cached_property
    def _records(self) -> NDArray[np.void]:
        return self._array(RECORDS, RECORD)

    def __len__(self) -> int:
        return self._ends[-1]

    def degradations(self) -> frozenset[str]:
        held = (self.degradation or shard.degradation for shard in self.shards)
        return frozenset(degradation for degradation in held if degradation)

    def read(self, index: int, crop_fn: CropFn = full_image) -> Pair:
        shard, number, fields = self.locate(index)
        gt_start, lq_start, gt_size, lq_size, height, width = fields
        name = f"{self.files.shown(shard.file)}:{shard.key(number)}"
        if self.max_pixels is not None and height * width > self.max_pixels:
            raise ImageError(
                f"{name} cannot be read: {height * width} pixels are above the limit of "
                f"{self.max_pixels} pixels; lift it with --max-pixels."
            )
        try:
            read = partial(self.files.read, shard.file)
            part = partial(_part, read, shape=(height, width), crop=crop_fn(height, width))
            gt = part(gt_start, gt_size, name=f"{name}.gt.png")
            lq = part(lq_start, lq_size, name=f"{name}.lq.png") if lq_size else None
        except OSError as error:
            raise ImageError(f"{name} cannot be read: {error.strerror or error}.") from error
        return Pair(name, self.degradation or shard.degradation or "", gt, lq)

    def scenes(self) -> NDArray[np.uint64]:
        """Return a number for the scene of each pair, which crops of one photo have in common.

        Raises MaskDCPTError if scenes.npy is of other shards, or not at an address.
        """
        try:
            everything = self._array(SCENES, np.dtype(np.uint64))
        except FileNotFoundError:
            return self._scenes_of_members()
        bounds = zip(self._firsts, self.shards, strict=True)
        parts = [everything[first : first + shard.samples] for first, shard in bounds]
        return np.concatenate(parts)

    def _scenes_of_members(self) -> NDArray[np.uint64]:
        """Read the scenes of shards without SCENES, each from the file that follows gt."""
        numbers = (self._scene_of_member(index) for index in range(len(self)))
        return np.fromiter(numbers, np.uint64, len(self))

    def _scene_of_member(self, index: int) -> int:
        shard, number, fields = self.locate(index)
        start = -(-(fields[0] + fields[2]) // MEMBER_HEADER) * MEMBER_HEADER
        read = partial(self.files.read, shard.file)
        try:
            size = TarInfo.frombuf(read(start, MEMBER_HEADER), "utf-8", "strict").size
            about = json.loads(read(start + MEMBER_HEADER, size))
            return scene_of_file(about["gt"])
        except (OSError, TarError, RecursionError, *MALFORMED) as error:
            raise MaskDCPTError(
                f"{self.files.shown(shard.file)}:{shard.key(number)} does not say of which photo "
                "it is; pack again."
            ) from error

    def locate(self, index: int) -> tuple[Shard, int, tuple[int, ...]]:
        """Return the shard of a pair, its number in it, and its RECORD."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        number_of_shard = bisect_right(self._ends, index)
        shard = self.shards[number_of_shard]
        number = index - (self._ends[number_of_shard] - shard.samples)
        return shard, number, self._records[self._firsts[number_of_shard] + number].item()

    def state(self, index: int) -> tuple[object, ...]:
        """Return what changes with the content of a pair where it is packed again."""
        shard, number, record = self.locate(index)
        return (shard.file, number, *record, self.files.packed_at)

    def _array(self, name: str, dtype: "np.dtype[Any]") -> NDArray[Any]:
        """Return an array with an element for each sample in the shards of the index."""
        index = self.files.shown(INDEX)
        try:
            array = self.files.array(name)
        except (FileNotFoundError, MaskDCPTError):
            raise
        except Exception as error:  # NumPy raises many things for a damaged header
            raise MaskDCPTError(
                f"{name} beside {index} is damaged; pack again, or copy it whole."
            ) from error
        if array.dtype != dtype or array.shape != (self._samples,):
            raise MaskDCPTError(f"{index} and {name} do not belong together.")
        return array

    def _check(self) -> None:
        try:
            held = self._records
        except FileNotFoundError as error:
            index = self.files.shown(INDEX)
            raise MaskDCPTError(f"{RECORDS} is missing beside {index}; copy it, too.") from error
        for shard, first in zip(self.shards, self._firsts, strict=True):
            last = held[first + shard.samples - 1]
            ends = (int(last[f"{side}_start"] + last[f"{side}_size"]) for side in ("gt", "lq"))
            self.files.check(shard.file, max(ends))


def _part(
    read: Callable[[int, int], bytes],
    start: int,
    size: int,
    *,
    shape: tuple[int, int],
    crop: Crop,
    name: str,
) -> Pixels:
    height, width = shape
    if size == stored_png.size_of(height, width):
        offset, length = stored_png.span(crop, width=width)
        part = stored_png.crop_rows(read(start + offset, length), crop, width=width)
        if part is not None:
            return part
    pixels = decode_rgb(read(start, size), name=name, max_pixels=height * width)
    if pixels.shape[:2] != shape:
        raise ImageError(f"{name} has another size than in the index.")
    return crop.of(pixels)
