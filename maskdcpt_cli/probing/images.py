"""Images of the preliminary study (Sec. III): centre crops of several degradations.

The paper takes a data set for each degradation. Here such sets are synthetic, from clean photos. By
default each photo is in one set only (not in the paper), so that a network cannot recognise an
image by its content. Shared photos are in all sets: then content says nothing about the
degradation, and photos, not images, are split into training and test.
"""

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from itertools import chain, cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import default_rng

from maskdcpt_cli.data.augment import Augmentation
from maskdcpt_cli.data.sets import DEFAULT_SYNTHESIS, ImageSet
from maskdcpt_cli.degradations import SETTINGS, slug
from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.files import shown
from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.presets.data import Synthesis
from maskdcpt_cli.presets.load import load_data, names
from maskdcpt_cli.synthesis.table import degrade, generator_of

CENTRE = Augmentation(0.5, 0.5, mirrored=False, quarter_turns=0)
CONTEXT = 2  # side of the degraded photo in sides of the crop: blur and haze depend on context


class ProbeImage(NamedTuple):
    """Image of the study with its degradation."""

    scene: str  # images of one scene are on one side of a split
    degradation: str  # abbreviation
    pixels: Pixels  # (size, size, 3)


class SkippedFile(NamedTuple):
    """File that was skipped, for the reason given."""

    reason: str


ReadResult = ProbeImage | SkippedFile


def from_clean(
    sets: Sequence[ImageSet],
    setting: str,
    *,
    images: int,
    size: int,
    shared: bool,
    seed: int = 0,
) -> Generator[ReadResult, None, None]:
    """Degrade clean photos, in random order, as in the setting's data preset.

    Noise of 5D is Gaussian with sigma 15, 25 or 50, as in the paper; other levels are the
    default ones of `maskdcpt degrade`. If there are too few photos, all degradations get equally
    many.

    Args:
        sets: Clean photos.
        setting: As "5d".
        images: Images of each degradation, at most.
        size: Side of an image in pixels.
        seed: Of the order and the degradations.
        shared: Degrade each photo in all ways, not in one.
    """
    data = load_data(setting if setting in names() else "5d")
    syntheses = {part.degradation: part.synthesis for part in data.train}
    degradations = SETTINGS[setting]
    taken: list[ProbeImage] = []  # of this round: one of each degradation
    rounds, turns = 0, cycle(degradations)
    for source, index in _shuffled(sets, seed):
        photo = _read(source, index, size=CONTEXT * size, at_least=size)
        if isinstance(photo, SkippedFile):
            yield photo
            continue
        for degradation in degradations if shared else [next(turns)]:
            pixels = _degraded(
                photo, degradation, syntheses.get(degradation, DEFAULT_SYNTHESIS), seed=seed
            )
            taken.append(ProbeImage(photo.scene, degradation, _centre(pixels, size)))
        if len(taken) == len(degradations):
            yield from taken
            taken, rounds = [], rounds + 1
        if rounds == images:
            return


def from_degraded(
    sets: Sequence[ImageSet], *, images: int, size: int, seed: int = 0
) -> Generator[ReadResult, None, None]:
    """Read degraded images in random order, of a set for each degradation.

    Images with the same name, as `maskdcpt degrade` writes them, count as one scene.
    """
    for one in sets:
        found = 0
        for source, index in _shuffled([one], seed):
            image = _read(source, index, size=size, at_least=size)
            found += isinstance(image, ProbeImage)
            yield image
            if found == images:
                break


def _shuffled(sets: Sequence[ImageSet], seed: int) -> Iterator[tuple[ImageSet, int]]:
    """Return all (set, index) in random order."""
    indices = list(chain.from_iterable(((one, i) for i in range(len(one))) for one in sets))
    return (indices[i] for i in default_rng(seed).permutation(len(indices)))


def _read(source: ImageSet, index: int, *, size: int, at_least: int) -> ReadResult:
    """Read the centre of an image."""
    try:
        pair = source.pairs.read(index, partial(CENTRE.crop, side=size))
    except ImageError as error:
        return SkippedFile(str(error))
    if min(pair.gt.shape[:2]) < at_least:
        return SkippedFile(f"{shown(pair.name)} is smaller than {at_least}x{at_least} pixels.")
    return ProbeImage(Path(pair.name).with_suffix("").as_posix(), pair.degradation, pair.gt)


def _degraded(photo: ProbeImage, degradation: str, synthesis: Synthesis, *, seed: int) -> Pixels:
    gt = np.divide(photo.pixels, 255, dtype=np.float32)
    generator = generator_of(photo.scene, slug(degradation), seed=(seed,))
    degraded = degrade(
        gt, degradation, generator, variant=synthesis.variant, levels=synthesis.levels
    )
    return np.rint(degraded.lq * 255).astype(np.uint8)


def _centre(pixels: Pixels, size: int) -> Pixels:
    return np.ascontiguousarray(CENTRE.crop(*pixels.shape[:2], side=size).of(pixels))
