"""Pack pairs, or clean photos, into tar shards of crops."""

import io
import json
import tarfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.data.augment import Crop
from maskdcpt_cli.data.parallel import TOO_MANY, in_processes
from maskdcpt_cli.data.shards import stored_png
from maskdcpt_cli.data.shards.index import (
    FILE_NAME,
    INDEX,
    MEMBER_HEADER,
    RECORD,
    RECORDS,
    SCENES,
    Shard,
    dump_index,
)
from maskdcpt_cli.data.shards.pack_items import PackItem, PackItems
from maskdcpt_cli.degradations import CLEAN, LABELS
from maskdcpt_cli.errors import ImageError, MaskDCPTError
from maskdcpt_cli.files import check_inside, remove_left_over, replacing, shown
from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.images.reading import probe, read_rgb
from maskdcpt_cli.images.workers import WorkerLost, WorkerPool

CHUNK = 64  # images that one call to another process measures
UNFINISHED = ".unfinished"  # the names of the shards of a run, until it has written their index


@dataclass(frozen=True)
class Cropping:
    """How images are cropped, and crops stored."""

    size: int = 512  # of a side; smaller images are stored whole
    stride: int = 512
    compress: bool = False  # less than 60 % of the bytes, but to be read whole and decoded


class ImageSize(NamedTuple):
    """The size of an image."""

    height: int  # 0: it cannot be read
    width: int
    reason: str = ""


@dataclass(frozen=True)
class ShardPlan:
    """A shard to write."""

    file: str
    numbers: NDArray[np.int64]  # of its images among the items, of one degradation


@dataclass(frozen=True)
class ShardJob:
    """A plan with all that another process needs."""

    path: Path
    items: tuple[PackItem, ...]
    cropping: Cropping


class PackedShard(NamedTuple):
    """A shard that was written."""

    shard: Shard
    records: NDArray[np.void]
    scenes: NDArray[np.uint64]
    skipped: tuple[str, ...]  # why images were left out, a sentence each


def measure(
    items: PackItems, *, jobs: int, pool: WorkerPool | None = None
) -> Generator[ImageSize, None, None]:
    """Yield the size of every image, from its header; `jobs` processes of `pool` read it."""
    groups = (
        [items[number] for number in range(first, min(first + CHUNK, len(items)))]
        for first in range(0, len(items), CHUNK)
    )
    for sizes in in_processes(_measure, groups, jobs=jobs, lost=_lost, pool=pool):
        yield from sizes


def plan(
    items: PackItems, sizes: Iterable[ImageSize], *, cropping: Cropping, shard_size: int
) -> tuple[list[ShardPlan], list[str]]:
    """Distribute images over shards of at most `shard_size` bytes, if an image fits.

    Returns the shards, and why images are left out. Raises MaskDCPTError if all are.
    """
    plans: list[ShardPlan] = []
    skipped: list[str] = []

    def readable() -> Iterator[tuple[int, PackItem, ImageSize]]:
        for number, size in enumerate(sizes):
            if size.reason:
                skipped.append(size.reason)
            else:
                yield number, items[number], size

    for degradation, some in groupby(readable(), key=lambda one: one[1].degradation):
        word = _word(degradation)
        for number, group in enumerate(_filled(some, cropping, shard_size)):
            plans.append(ShardPlan(f"{word}-{number:06}.tar", np.array(group)))
    if not plans:
        raise MaskDCPTError(f"There is nothing to pack. {' '.join(skipped[:3])}".strip())
    return plans, skipped


def _word(degradation: str | None) -> str:
    """Return the name of the shards of a degradation; None: of clean images without pairs."""
    if degradation is None:
        return CLEAN
    if degradation == CLEAN:
        return f"{CLEAN}_pairs"
    return LABELS[degradation].slug.replace("+", "_")  # which a URL would take for a space


def check_free(out: Path) -> None:
    """Raise MaskDCPTError if a folder holds shards, but for those of an interrupted run.

    Also for a link out of it in place of an index.
    """
    for name in (INDEX, RECORDS, SCENES, UNFINISHED):
        check_inside(out / name, out)
    unfinished = _unfinished(out)
    if (out / INDEX).exists() or any(tar.name not in unfinished for tar in out.glob("*.tar")):
        raise MaskDCPTError(
            f"'{shown(out)}' holds shards already; take another folder, or remove them first."
        )


def _unfinished(out: Path) -> frozenset[str]:
    """Return the names of the shards of a run that was interrupted."""
    try:
        names = (out / UNFINISHED).read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return frozenset()
    return frozenset(filter(FILE_NAME.fullmatch, names))


def pack(
    plans: Sequence[ShardPlan],
    items: PackItems,
    out: Path,
    *,
    cropping: Cropping,
    jobs: int,
    pool: WorkerPool | None = None,
) -> Generator[PackedShard, None, None]:
    """Write the shards, and at the end the index; the same plans give the same bytes.

    Without an index, as after an interruption, the shards are not read as a data set, and the
    next run replaces them.

    Raises MaskDCPTError if `out` holds other shards or no image could be packed, and WorkerLost if
    reading an image ends its process.
    """
    check_free(out)
    out.mkdir(parents=True, exist_ok=True)
    for name in _unfinished(out):
        (out / name).unlink(missing_ok=True)
    with replacing(out / UNFINISHED) as stream:
        stream.write("".join(f"{plan.file}\n" for plan in plans).encode("ascii"))
    shards: list[Shard] = []
    arrays: dict[str, list[NDArray[Any]]] = {RECORDS: [], SCENES: []}
    skipped: list[str] = []
    work = (
        ShardJob(out / plan.file, tuple(items[number] for number in plan.numbers), cropping)
        for plan in plans
    )
    try:
        with closing(in_processes(_write, work, jobs=jobs, pool=pool)) as writing:
            for packed in writing:
                shards.append(packed.shard)
                skipped += packed.skipped
                arrays[RECORDS].append(packed.records)
                arrays[SCENES].append(packed.scenes)
                yield packed
    finally:
        remove_left_over(out)  # of a process that was ended while it read an image
    if not any(map(len, arrays[RECORDS])):
        raise MaskDCPTError(f"There is nothing to pack. {' '.join(skipped[:3])}".strip())
    for name, parts in arrays.items():
        with replacing(out / name) as stream:
            np.save(stream, np.concatenate(parts))
    with replacing(out / INDEX) as stream:
        stream.write(dump_index(shards))
    (out / UNFINISHED).unlink()


def crops(height: int, width: int, cropping: Cropping) -> list[Crop]:
    """Return the crops of an image; the last of a row and of a column end at the border."""
    tall, wide = min(cropping.size, height), min(cropping.size, width)
    tops, lefts = (_starts(length, cropping) for length in (height, width))
    return [Crop(top, left, tall, wide) for top in tops for left in lefts]


def _starts(length: int, cropping: Cropping) -> list[int]:
    side = min(cropping.size, length)
    starts = list(range(0, length - side + 1, cropping.stride))
    return starts if starts[-1] + side == length else [*starts, length - side]


def _measure(items: list[PackItem]) -> list[ImageSize]:
    return [_measured(item.root / item.gt) for item in items]


def _lost(
    items: list[PackItem], error: WorkerLost, measure: Callable[[list[PackItem]], list[ImageSize]]
) -> list[ImageSize]:
    """Measure the images one by one, as one of them ended the process."""
    if len(items) == 1:
        if not error.file:
            raise MaskDCPTError(TOO_MANY) from error
        return [ImageSize(0, 0, str(error))]
    return [size for item in items for size in measure([item])]


def _measured(path: Path) -> ImageSize:
    try:
        header = probe(path)
    except ImageError as error:
        return ImageSize(0, 0, str(error))
    return ImageSize(header.height, header.width)


def _filled(
    some: Iterable[tuple[int, PackItem, ImageSize]], cropping: Cropping, shard_size: int
) -> Iterator[list[int]]:
    """Yield groups of images of at most `shard_size` bytes without compression."""
    group: list[int] = []
    filled = 0
    for number, item, size in some:
        lengths = size.height, size.width
        rows, columns = (len(_starts(length, cropping)) for length in lengths)
        crop = stored_png.size_of(*(min(cropping.size, length) for length in lengths))
        each = (crop + 2 * MEMBER_HEADER) * (2 if item.lq else 1) + 2 * MEMBER_HEADER
        needed = rows * columns * each
        if group and filled + needed > shard_size:
            yield group
            group, filled = [], 0
        group.append(number)
        filled += needed
    if group:
        yield group


def _write(job: ShardJob) -> PackedShard:
    records: list[tuple[int, ...]] = []
    scenes: list[int] = []
    skipped: list[str] = []
    shard = Shard(job.path.name, 0, job.items[0].degradation)
    with (
        replacing(job.path) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for item in job.items:
            try:
                gt, lq = _read(item)
            except ImageError as error:
                skipped.append(str(error))
                continue
            height, width = gt.shape[:2]
            for crop in crops(height, width, job.cropping):
                key = shard.key(len(records))
                png = partial(_png, compress=job.cropping.compress)
                gt_at = _add(tar, f"{key}.gt.png", png(crop.of(gt)))
                _add(tar, f"{key}.json", _about(item, crop))
                lq_at = (0, 0) if lq is None else _add(tar, f"{key}.lq.png", png(crop.of(lq)))
                records.append((gt_at[0], lq_at[0], gt_at[1], lq_at[1], *crop[2:]))
                scenes.append(item.scene)
    return PackedShard(
        replace(shard, samples=len(records)),
        np.array(records, RECORD),
        np.array(scenes, np.uint64),
        tuple(skipped),
    )


def _read(item: PackItem) -> tuple[Pixels, Pixels | None]:
    gt = read_rgb(item.root / item.gt, max_pixels=item.max_pixels)
    if item.lq is None:
        return gt, None
    lq = read_rgb(item.root / item.lq, max_pixels=item.max_pixels)
    if lq.shape != gt.shape:
        raise ImageError(
            f"{shown(item.root / item.lq)} is {lq.shape[1]}x{lq.shape[0]} pixels, but its "
            f"clean image {shown(item.gt)} {gt.shape[1]}x{gt.shape[0]}."
        )
    return gt, lq


def _png(pixels: Pixels, *, compress: bool) -> bytes:
    if not compress:
        return stored_png.encode(pixels)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def _about(item: PackItem, crop: Crop) -> bytes:
    about = {
        "degradation": item.degradation,
        "gt": item.gt,
        "lq": item.lq,
        "top": crop.top,
        "left": crop.left,
    }
    return json.dumps(about).encode()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> tuple[int, int]:
    """Add a member; return the position and the number of its bytes."""
    member = tarfile.TarInfo(name)  # of no time and no owner
    member.size = len(data)
    start = tar.offset + MEMBER_HEADER
    tar.addfile(member, io.BytesIO(data))
    return start, len(data)
