"""The files to pack into shards."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.data.pairs import FilePairs, labels
from maskdcpt_cli.data.sets import ImageSet, check_complete, from_preset
from maskdcpt_cli.data.shards.index import ShardPairs
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.presets.data import Data


class PackItem(NamedTuple):
    """The files of a pair, or of a clean image."""

    root: Path
    gt: str  # below root, as is lq
    lq: str | None
    degradation: str | None  # abbreviation; None: clean
    max_pixels: int | None = MAX_PIXELS  # larger images are skipped; None: no limit
    scene: int = 0


class PackItems:
    """All files to pack.

    They are sorted by degradation, and shuffled within one, so that a shard is a fair sample.
    """

    def __init__(self, sets: Sequence[ImageSet]) -> None:
        """List the files of sets; raise MaskDCPTError for shards, which are packed already."""
        self.parts = [_files(one) for one in sets]
        self._scenes = [part.scenes() for part in self.parts]
        self._ends = list(accumulate(len(part) for part in self.parts))
        codes = np.concatenate([_codes(part) for part in self.parts])
        shuffled = np.random.default_rng(0).permutation(len(codes))
        self._order = shuffled[np.argsort(codes[shuffled], kind="stable")]

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[PackItem]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> PackItem:
        index = int(self._order[number])
        part = self.parts[source := bisect_right(self._ends, index)]
        index -= self._ends[source] - len(part)
        lq = None if part.lq is None else part.lq[index]
        degradation = None if lq is None else part.degradation_of(index)
        scene = int(self._scenes[source][index])
        return PackItem(part.root, part.gt[index], lq, degradation, part.max_pixels, scene)


def of_preset(data: Data, root: Path, *, max_pixels: int | None = MAX_PIXELS) -> PackItems:
    """List the training images of a preset; clean images of several degradations come once.

    Raises MaskDCPTError for missing files, for shards, which are packed already, and where there is
    nothing to train on.
    """
    if not data.train:
        raise MaskDCPTError("There is nothing to pack: this preset has no training sets.")
    sets = from_preset(data.train, root, max_pixels=max_pixels)
    check_complete(sets)
    sources = [source for part in data.train for source in part.sources]
    distinct: dict[object, ImageSet] = {}
    for source, one in zip(sources, sets, strict=True):
        clean = _files(one).lq is None
        key = source.model_copy(update={"name": "", "pairs": None}) if clean else len(distinct)
        distinct.setdefault(key, one)
    return PackItems(list(distinct.values()))


def _files(images: ImageSet) -> FilePairs:
    if not isinstance(images.pairs, FilePairs):
        packed = isinstance(images.pairs, ShardPairs)
        reason = "is packed already" if packed else "has no files of images that could be packed"
        raise MaskDCPTError(f"'{images.name}' {reason}.")
    return images.pairs


def _codes(part: FilePairs) -> NDArray[np.uint8]:
    if part.lq is None:
        return np.full(len(part), len(labels()), np.uint8)  # after all degradations
    if isinstance(part.degradation, str):
        return np.full(len(part), labels().index(part.degradation), np.uint8)
    return part.degradation
