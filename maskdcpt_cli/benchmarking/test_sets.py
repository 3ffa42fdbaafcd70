"""Test sets: pairs on disk, or clean images that are degraded when they are read."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.benchmarking.published import SetInfo
from maskdcpt_cli.data import sets
from maskdcpt_cli.data.pairs import FilePairs
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.data.shards.index import ShardPairs
from maskdcpt_cli.data.sources import is_clean, root_of
from maskdcpt_cli.degradations import slug
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.presets.data import Data, SeededSynthesis, Synthesis
from maskdcpt_cli.presets.load import load_data
from maskdcpt_cli.synthesis.contract import Image
from maskdcpt_cli.synthesis.table import degrade, generator_of

# Name of the level, in the titles of synthetic sets.
LEVEL_NAMES = {"GN": "\N{GREEK SMALL LETTER SIGMA}", "J": "quality", "MS": "mosaic", "GB": "blur"}


class EvalSample(NamedTuple):
    """Sample of a test set: input, and ground truth if there is one."""

    name: str
    lq: Image
    gt: NDArray[np.uint8] | None  # None for real images without ground truth


def read_sample(testset: ImageSet, index: int) -> EvalSample:
    """Read a sample; raises ImageError, which names the file, if it cannot be read."""
    pair = testset.pairs.read(index)
    gt = _scaled(pair.gt)
    if testset.blind:
        return EvalSample(pair.name, gt, None)
    if pair.lq is not None:
        return EvalSample(pair.name, _scaled(pair.lq), pair.gt)
    lq = synthesize_lq(gt, pair.degradation, testset.synthesis, name=pair.name)
    return EvalSample(pair.name, lq, pair.gt)


def sample_name(testset: ImageSet, index: int) -> str:
    """Return the name of a sample without reading it."""
    if isinstance(testset.pairs, FilePairs):
        return (testset.pairs.lq or testset.pairs.gt)[index]
    return f"{testset.name}-{index:06}"


def sample_state(testset: ImageSet, index: int) -> tuple[object, ...]:
    """Return a state that changes with the files of a sample (size, time) or its synthesis."""
    pairs, given = testset.pairs, testset.synthesis
    # The form of earlier versions, whose result caches stay valid.
    synthesis = (
        f"SeededSynthesis(kind={given.variant!r}, levels={given.levels!r}, seed={_seed(given)!r})"
    )
    if isinstance(pairs, ShardPairs):
        return (synthesis, index, *pairs.state(index))
    if not isinstance(pairs, FilePairs):
        return (synthesis, index)
    names = {names[index] for names in (pairs.gt, pairs.lq) if names is not None}
    try:
        states = [(pairs.root / name).stat() for name in sorted(names)]
    except OSError:
        return (synthesis,)
    return (synthesis, *(n for state in states for n in (state.st_size, state.st_mtime_ns)))


def info(testset: ImageSet) -> SetInfo:
    """Return what identifies a test set in the tables of the paper."""
    return SetInfo(testset.name, testset.degradation, testset.level)


def key(testset: ImageSet) -> str:
    """Return the name of a test set in files, unique in a preset."""
    level = "" if testset.level is None else f"{testset.level:g}"
    words = [testset.degradation or "", level, testset.name]
    return "-".join(re.sub(r"[^\w.+-]+", "-", word) for word in words if word)


def title(one: ImageSet | SetInfo) -> str:
    """Return a title: "CBSD68, \N{GREEK SMALL LETTER SIGMA} 25"; for a real set "Rain100L"."""
    word = LEVEL_NAMES.get(one.degradation or "", "")
    if one.level is None:
        return f"{one.name}, {word}" if word else one.name
    return f"{one.name}, {word or slug(one.degradation or '')} {one.level:g}"


def find_sets(
    data: str | None,
    *,
    root: Path | str | None = None,
    photos: Path | str | None = None,
    pairs: Sequence[tuple[Path | str, Path | str]] = (),
    max_pixels: int | None = MAX_PIXELS,
) -> list[ImageSet]:
    """Find test sets: own pairs, own photos degraded as a data preset says, or those of a preset.

    Raises:
        MaskDCPTError: If nothing is named, if both pairs and a preset are, and for test sets that
            are not there.
    """
    if pairs:
        if data or photos:
            raise MaskDCPTError("Give either pairs or a data preset, not both.")
        folders = [(Path(lq), Path(gt)) for lq, gt in pairs]
        return sets.from_pairs(folders, max_pixels=max_pixels)
    if not data:
        raise MaskDCPTError("Name the test sets: a data preset, or pairs.")
    preset = load_data(data)
    if photos:
        return from_photos(preset, Path(photos), max_pixels=max_pixels)
    below = root_of(preset, None if root is None else Path(root))
    return from_preset(preset, below, max_pixels=max_pixels)


def from_preset(data: Data, root: Path, *, max_pixels: int | None = MAX_PIXELS) -> list[ImageSet]:
    """Find the test sets of a preset below a data root, in the order of the preset.

    Raises:
        MaskDCPTError: For a preset without test sets, and for an unknown synthesis.
    """
    if not data.test:
        raise MaskDCPTError("This preset has no test sets.")
    return _distinct(sets.from_preset(data.test, root, max_pixels=max_pixels))


def _distinct(found: list[ImageSet]) -> list[ImageSet]:
    """Return the sets; MaskDCPTError where two would share their files."""
    for one, number in Counter(map(key, found)).items():
        if number > 1:
            raise MaskDCPTError(
                f"{number} test sets are named {one}, by degradation, level and name: give their "
                "sources names of their own."
            )
    return found


def from_photos(data: Data, folder: Path, *, max_pixels: int | None = MAX_PIXELS) -> list[ImageSet]:
    """Make a synthetic test set of the user's clean photos for each synthesis of the preset.

    Raises:
        MaskDCPTError: If there are no photos, and for a preset without synthetic test sets.
    """
    syntheses = dict.fromkeys(
        (part.degradation, part.synthesis)
        for part in data.test
        if part.degradation and any(map(is_clean, part.sources))
    )
    if not syntheses:
        raise MaskDCPTError(
            "This preset has no synthetic test sets, so it cannot degrade photos; "
            "use denoise or 12d."
        )
    own = sets.from_photos(folder, syntheses, max_pixels=max_pixels)
    # A title has no word for a degradation without levels.
    named = [
        one
        if one.level is not None or one.degradation in LEVEL_NAMES
        else replace(one, name=f"{one.name}, {slug(one.degradation or '')}")
        for one in own
    ]
    seen: Counter[str] = Counter()
    for number, one in enumerate(named):
        seen[key(one)] += 1
        if seen[key(one)] > 1:  # of other variants or levels
            named[number] = replace(one, name=f"{one.name} #{seen[key(one)]}")
    return named


def synthesize_lq(gt: Image, degradation: str, synthesis: Synthesis, *, name: str) -> Image:
    """Degrade a clean image for a test, deterministically.

    Gaussian noise equals that of the release, value by value. Other degradations are sampled as in
    training, from the seed and the name of the image (the release does not seed them), so that
    the images of a set have different blur kernels.
    """
    seed, levels = _seed(synthesis), synthesis.levels
    if (degradation, synthesis.variant) == ("GN", "gaussian") and levels and len(set(levels)) == 1:
        return released_noise(gt, levels[0], seed=seed)
    generator = generator_of(PurePath(name).stem, seed=(seed,))
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


def _seed(synthesis: Synthesis) -> int:
    return synthesis.seed if isinstance(synthesis, SeededSynthesis) else 0


def _scaled(pixels: NDArray[np.uint8]) -> Image:
    return np.divide(pixels, 255, dtype=np.float32)
