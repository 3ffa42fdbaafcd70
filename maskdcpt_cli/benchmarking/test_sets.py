"""Test sets: pairs on disk, or clean images that are degraded when they are read."""

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
from maskdcpt_cli.files import shown
from maskdcpt_cli.images.formats import MAX_PIXELS
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

# Name of the level, in the titles of synthetic sets.
LEVEL_NAMES = {"GN": "\N{GREEK SMALL LETTER SIGMA}", "J": "quality", "MS": "mosaic", "GB": "blur"}
DEFAULT_SYNTHESIS = SeededSynthesis()


class EvalSample(NamedTuple):
    """Sample of a test set: input, and ground truth if there is one."""

    name: str
    lq: Image
    gt: NDArray[np.uint8] | None  # None for real images without ground truth


@dataclass(frozen=True)
class TestSet:
    """Test set: images to restore, with ground truth if there is any."""

    info: SetInfo
    pairs: Pairs
    synthesis: SeededSynthesis = DEFAULT_SYNTHESIS  # of clean images, if there is no lq on disk
    blind: bool = False  # without ground truth
    expected: int | None = None  # images of the complete set, if known

    @property
    def title(self) -> str:
        """Title in tables and messages."""
        return title(self.info)

    @property
    def key(self) -> str:
        """Name in files, unique in a preset."""
        name, degradation, level = self.info
        words = [degradation or "", "" if level is None else f"{level:g}", name]
        return "-".join(re.sub(r"[^A-Za-z0-9_.+-]+", "-", word) for word in words if word)

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, index: int) -> EvalSample:
        """Read a sample; raises ImageError, which names the file, if it cannot be read."""
        pair = self.pairs.read(index)
        if self.blind:
            return EvalSample(pair.name, _scaled(pair.gt), None)
        lq = self._synthesized(pair) if pair.lq is None else _scaled(pair.lq)
        return EvalSample(pair.name, lq, pair.gt)

    def state(self, index: int) -> tuple[object, ...]:
        """Return a state that changes with the files of a sample (size, time) or its synthesis."""
        variant, levels, seed = self.synthesis.variant, self.synthesis.levels, self.synthesis.seed
        # The form of earlier versions, whose result caches stay valid.
        synthesis = f"SeededSynthesis(kind={variant!r}, levels={levels!r}, seed={seed!r})"
        if not isinstance(self.pairs, FilePairs):
            return (synthesis, index)
        names = {names[index] for names in (self.pairs.gt, self.pairs.lq) if names is not None}
        try:
            states = [(self.pairs.root / name).stat() for name in sorted(names)]
        except OSError:
            return (synthesis,)
        return (synthesis, *(n for state in states for n in (state.st_size, state.st_mtime_ns)))

    def name(self, index: int) -> str:
        """Return the name of a sample without reading it."""
        if isinstance(self.pairs, FilePairs):
            return (self.pairs.lq or self.pairs.gt)[index]
        return f"{self.info.name}-{index:06}"

    def _synthesized(self, pair: Pair) -> Image:
        return synthesize_lq(_scaled(pair.gt), pair.degradation, self.synthesis, name=pair.name)


class MissingTestSet(NamedTuple):
    """Test set of a preset that is not on disk."""

    info: SetInfo
    reason: str

    @property
    def title(self) -> str:
        """Title in tables and messages."""
        return title(self.info)


def title(info: SetInfo) -> str:
    """Return a title: "CBSD68, \N{GREEK SMALL LETTER SIGMA} 25"; for a real set "Rain100L"."""
    word = LEVEL_NAMES.get(info.degradation or "", "")
    if info.level is None:
        return f"{info.name}, {word}" if word else info.name
    return f"{info.name}, {word or slug(info.degradation)} {info.level:g}"


def slug(degradation: str | None) -> str:
    """Return the name of a degradation on the command line."""
    known = DEGRADATIONS.get(degradation or "")
    return known.slug if known else degradation or ""


def from_preset(
    data: Data, root: Path, *, max_pixels: int | None = MAX_PIXELS
) -> list[TestSet | MissingTestSet]:
    """Find the test sets of a preset below a data root, in the order of the preset.

    Raises:
        MaskDCPTError: For a preset without test sets, and for an unknown synthesis.
    """
    sets = [
        _open_test_set(part, source, root, max_pixels)
        for part in data.test
        for source in part.sources
    ]
    if not sets:
        raise MaskDCPTError("This preset has no test sets.")
    return sets


def from_photos(data: Data, folder: Path, *, max_pixels: int | None = MAX_PIXELS) -> list[TestSet]:
    """Make a synthetic test set of the user's clean photos for each synthesis of the preset.

    Raises:
        MaskDCPTError: If there are no photos, and for a preset without synthetic test sets.
    """
    synthetic = {
        (part.degradation, part.synthesis): part
        for part in data.test
        if part.degradation and any(_is_clean(source) for source in part.sources)
    }
    if not synthetic:
        raise MaskDCPTError(
            "This preset has no synthetic test sets, so it cannot degrade photos; "
            "use denoise or 12d."
        )
    name = folder.resolve().name
    return [
        TestSet(
            _info(part, name),
            photos(folder, degradation=part.degradation or "", max_pixels=max_pixels),
            part.synthesis,
        )
        for part in synthetic.values()
    ]


def from_pairs(
    folders: Sequence[tuple[Path, Path]], *, max_pixels: int | None = MAX_PIXELS
) -> list[TestSet]:
    """Make a test set of each pair of folders (lq, gt), whose images have the same names.

    Raises:
        MaskDCPTError: If there are no images, or an lq has no gt.
    """
    return [
        TestSet(SetInfo(name, None), paired(lq, gt, degradation="", max_pixels=max_pixels))
        for name, (lq, gt) in zip(_names(folders), folders, strict=True)
    ]


def synthesize_lq(gt: Image, degradation: str, synthesis: SeededSynthesis, *, name: str) -> Image:
    """Degrade a clean image for a test, deterministically.

    Gaussian noise equals that of the release, value by value. Other degradations are sampled as in
    training, from the seed and the name of the image (the release does not seed them), so that
    the images of a set have different blur kernels.
    """
    seed, levels = synthesis.seed, synthesis.levels
    if (degradation, synthesis.variant) == ("GN", "gaussian") and levels and len(set(levels)) == 1:
        return released_noise(gt, levels[0], seed=seed)
    generator = default_rng((seed, zlib.crc32(PurePath(name).stem.encode(errors="replace"))))
    return degrade(gt, degradation, generator, variant=synthesis.variant, levels=levels).lq


def released_noise(gt: Image, sigma: float, *, seed: int) -> Image:
    """Add Gaussian noise from NumPy's legacy generator, sampled in RGB, and clip to [0, 1].

    `sigma` is in 8-bit values.
    """
    noise = np.random.RandomState(seed).normal(0, sigma / 255, gt.shape)
    return np.clip((gt + noise).astype(np.float32), 0, 1)


def noise_psnr(sigma: float) -> float:
    """Return the PSNR in dB of Gaussian noise that is not clipped; `sigma` is in 8-bit values."""
    return 20 * math.log10(255 / sigma)


def _open_test_set(
    part: EvalPart, source: Source, root: Path, max_pixels: int | None
) -> TestSet | MissingTestSet:
    check_synthesis(part)
    info = _info(part, source.name)
    try:
        scanned = scan(source, root, part.degradation, max_pixels=max_pixels)
    except MaskDCPTError as error:
        return MissingTestSet(info, str(error).removesuffix("."))
    if scanned.missing:
        return MissingTestSet(
            info, f"there is no {', no '.join(scanned.missing)} in '{shown(root)}'"
        )
    if not len(scanned.pairs):
        return MissingTestSet(info, f"it has no images in '{shown(root)}'")
    blind = isinstance(source, Unpaired)
    return TestSet(info, scanned.pairs, part.synthesis, blind, source.pairs)


def _info(part: EvalPart, name: str) -> SetInfo:
    levels = part.synthesis.levels
    return SetInfo(name, part.degradation, levels[0] if levels and len(set(levels)) == 1 else None)


def _is_clean(source: Source) -> bool:
    return (isinstance(source, Folders) and source.lq is None) or (
        isinstance(source, Shards) and source.clean
    )


def _names(folders: Sequence[tuple[Path, Path]]) -> list[str]:
    """Name pairs of folders by the lq folder and its parent, as `rain/lq`."""
    names: list[str] = []
    for lq, _ in folders:
        name = "/".join(lq.resolve().parts[-2:]).lstrip("/")
        number = sum(other.partition("#")[0] == name for other in names)
        names.append(f"{name}#{number + 1}" if number else name)
    return names


def _scaled(pixels: NDArray[np.uint8]) -> Image:
    return np.divide(pixels, 255, dtype=np.float32)
