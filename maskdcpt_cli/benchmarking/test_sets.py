"""Test sets: pairs that lie on disk, and clean images that are degraded when they are read."""

import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray

from maskdcpt_cli.benchmarking.published import SetInfo
from maskdcpt_cli.data.folders import paired, photos
from maskdcpt_cli.data.pairs import FilePairs, Pair, Pairs
from maskdcpt_cli.data.sources import check_synthesis, scan
from maskdcpt_cli.degradations import DEGRADATIONS
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.images.reading import shown
from maskdcpt_cli.presets.data import (
    Data,
    EvalPart,
    Folders,
    SeededSynthesis,
    Shards,
    Source,
    Unpaired,
)
from maskdcpt_cli.synthesis.contract import Image
from maskdcpt_cli.synthesis.table import degrade

# What is said of sets whose images are degraded when they are read, before the level.
WORDS = {"GN": "\N{GREEK SMALL LETTER SIGMA}", "J": "quality", "MS": "mosaic", "GB": "blur"}
DEFAULT_SYNTHESIS = SeededSynthesis()


class EvalSample(NamedTuple):
    """One image of a test set."""

    name: str
    lq: Image
    gt: NDArray[np.uint8] | None  # None where no clean image exists


@dataclass(frozen=True)
class TestSet:
    """A test set: images to restore, and the clean ones where there are such."""

    info: SetInfo
    pairs: Pairs
    synthesis: SeededSynthesis = DEFAULT_SYNTHESIS  # of clean images
    blind: bool = False  # without clean images
    expected: int | None = None  # images, where it is known

    @property
    def title(self) -> str:
        return title(self.info)

    @property
    def key(self) -> str:
        """What names it in files: no other set of a preset has it."""
        name, degradation, level = self.info
        words = [degradation or "", "" if level is None else f"{level:g}", name]
        return "-".join(re.sub(r"[^A-Za-z0-9_.+-]+", "-", word) for word in words if word)

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, index: int) -> EvalSample:
        """One image; raises ImageError, naming the file, where it cannot be read."""
        pair = self.pairs.read(index)
        if self.blind:
            return EvalSample(pair.name, _scaled(pair.gt), None)
        lq = self._made(pair) if pair.lq is None else _scaled(pair.lq)
        return EvalSample(pair.name, lq, pair.gt)

    def state(self, index: int) -> tuple[object, ...]:
        """Equal for equal images, told from their files without reading them."""
        made = repr(self.synthesis)
        if not isinstance(self.pairs, FilePairs):
            return (made, index)
        names = {names[index] for names in (self.pairs.gt, self.pairs.lq) if names is not None}
        try:
            states = [(self.pairs.root / name).stat() for name in sorted(names)]
        except OSError:
            return (made,)
        return (made, *(n for state in states for n in (state.st_size, state.st_mtime_ns)))

    def name(self, index: int) -> str:
        """The name that the image will have, known before it is read."""
        if isinstance(self.pairs, FilePairs):
            return (self.pairs.lq or self.pairs.gt)[index]
        return f"{self.info.name}-{index:06}"

    def _made(self, pair: Pair) -> Image:
        return synthesize_lq(_scaled(pair.gt), pair.degradation, self.synthesis, name=pair.name)


class MissingTestSet(NamedTuple):
    """A test set of a preset that is not there."""

    info: SetInfo
    reason: str

    @property
    def title(self) -> str:
        return title(self.info)


def title(info: SetInfo) -> str:
    """As "CBSD68, \N{GREEK SMALL LETTER SIGMA} 25", or "Rain100L" where nothing is made."""
    word = WORDS.get(info.degradation or "", "")
    if info.level is None:
        return f"{info.name}, {word}" if word else info.name
    return f"{info.name}, {word or slug(info.degradation)} {info.level:g}"


def slug(degradation: str | None) -> str:
    """What a degradation is called on the command line."""
    known = DEGRADATIONS.get(degradation or "")
    return known.slug if known else degradation or ""


def from_preset(data: Data, root: Path) -> list[TestSet | MissingTestSet]:
    """The test sets of a preset below a data root, in its order.

    Raises MaskDCPTError for a preset without test sets, and for a synthesis that does not exist.
    """
    found = [_found(part, source, root) for part in data.test for source in part.sources]
    if not found:
        raise MaskDCPTError("This preset has no test sets.")
    return found


def from_photos(data: Data, folder: Path) -> list[TestSet]:
    """One's own clean images, degraded in each way in which the preset degrades its own.

    Raises MaskDCPTError where there are no images, and for a preset that degrades none.
    """
    made = {
        (part.degradation, part.synthesis): part
        for part in data.test
        if part.degradation and any(_is_clean(source) for source in part.sources)
    }
    if not made:
        raise MaskDCPTError(
            "This preset has pairs alone, and no way to degrade photos; denoise and 12d have."
        )
    name = folder.resolve().name
    return [
        TestSet(
            _info(part, name), photos(folder, degradation=part.degradation or ""), part.synthesis
        )
        for part in made.values()
    ]


def from_pairs(folders: Sequence[tuple[Path, Path]]) -> list[TestSet]:
    """Two folders each, with images of the same names.

    Raises MaskDCPTError where there are none, or an lq has no gt.
    """
    return [
        TestSet(SetInfo(name, None), paired(lq, gt, degradation=""))
        for name, (lq, gt) in zip(_names(folders), folders, strict=True)
    ]


def synthesize_lq(gt: Image, degradation: str, synthesis: SeededSynthesis, *, name: str) -> Image:
    """A clean image as it is degraded for a test, the same every time.

    Gaussian noise is that of the release, number by number. All else is drawn as for training,
    from the seed and the name of the image (ours: the release does not seed it), so that not all
    images of a set are blurred by one kernel.
    """
    seed, levels = synthesis.seed, synthesis.levels
    if (degradation, synthesis.kind) == ("GN", "gaussian") and levels and len(set(levels)) == 1:
        return released_noise(gt, levels[0], seed=seed)
    generator = default_rng((seed, zlib.crc32(PurePath(name).stem.encode(errors="replace"))))
    return degrade(gt, degradation, generator, kind=synthesis.kind, levels=levels).lq


def released_noise(gt: Image, sigma: float, *, seed: int) -> Image:
    """Gaussian noise from NumPy's old generator, drawn in RGB and clipped to [0, 1]."""
    noise = np.random.RandomState(seed).normal(0, sigma / 255, gt.shape)
    return np.clip((gt + noise).astype(np.float32), 0, 1)


def noise_psnr(sigma: float) -> float:
    """The PSNR of Gaussian noise in dB, before it is clipped to [0, 1], which takes some away."""
    return 20 * math.log10(255 / sigma)


def _found(part: EvalPart, source: Source, root: Path) -> TestSet | MissingTestSet:
    check_synthesis(part)
    info = _info(part, source.name)
    try:
        found = scan(source, root, part.degradation)
    except MaskDCPTError as error:
        return MissingTestSet(info, str(error))
    if found.missing:
        return MissingTestSet(info, f"there is no {', no '.join(found.missing)} in '{shown(root)}'")
    if not len(found.pairs):
        return MissingTestSet(info, f"there are no images of it in '{shown(root)}'")
    blind = isinstance(source, Unpaired)
    return TestSet(info, found.pairs, part.synthesis, blind, source.pairs)


def _info(part: EvalPart, name: str) -> SetInfo:
    levels = part.synthesis.levels
    return SetInfo(name, part.degradation, levels[0] if levels and len(set(levels)) == 1 else None)


def _is_clean(source: Source) -> bool:
    return (isinstance(source, Folders) and source.lq is None) or (
        isinstance(source, Shards) and source.clean
    )


def _names(folders: Sequence[tuple[Path, Path]]) -> list[str]:
    """What to call pairs of folders: by that of the lq and the one it lies in, as `rain/lq`."""
    names: list[str] = []
    for lq, _ in folders:
        name = "/".join(lq.resolve().parts[-2:]).lstrip("/")
        number = sum(other.partition("#")[0] == name for other in names)
        names.append(f"{name}#{number + 1}" if number else name)
    return names


def _scaled(pixels: NDArray[np.uint8]) -> Image:
    return np.divide(pixels, 255, dtype=np.float32)
