"""The images of the preliminary study (Sec. III): some of each degradation, cut from the centre.

The paper takes a data set for each degradation. From clean photos we make such sets: every photo
is in one of them only (ours), so that a network cannot know an image again by its content. Shared
photos are in all of them: then content tells nothing of the degradation, and photos, not images,
are split into training and test.
"""

import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import SeedSequence, default_rng

from maskdcpt_cli.data.augment import Augmentation
from maskdcpt_cli.data.folders import photos
from maskdcpt_cli.data.pairs import FilePairs
from maskdcpt_cli.degradations import SETTINGS, slug
from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.presets.data import Synthesis
from maskdcpt_cli.presets.load import load_data, names
from maskdcpt_cli.synthesis.table import degrade

CENTRE = Augmentation(0.5, 0.5, mirrored=False, quarter_turns=0)
SURROUNDINGS = 2  # a photo is degraded so many times as large as what is cut from it: blur and
# haze come from what lies around
USUAL = Synthesis()


class ProbeImage(NamedTuple):
    """An image of the study."""

    scene: str  # what is seen: images of one scene are on one side of a split
    degradation: str  # abbreviation
    pixels: Pixels  # (size, size, 3)


class SkippedFile(NamedTuple):
    """A file that was passed over."""

    reason: str


Read = ProbeImage | SkippedFile


def from_photos(
    folders: Sequence[Path], setting: str, *, images: int, size: int, shared: bool, seed: int = 0
) -> Generator[Read, None, None]:
    """Clean photos in random order, degraded as the setting's data preset degrades clean images.

    Noise of 5D is Gaussian with sigma 15, 25 or 50, as in the paper; other levels are the usual
    ones of `maskdcpt degrade`. Where there are too few photos, all degradations get equally many.

    Raises MaskDCPTError where a folder has no photos.
    """
    data = load_data(setting if setting in names() else "5d")
    recipes = {part.degradation: part.synthesis for part in data.train}
    kinds = SETTINGS[setting]
    taken: list[ProbeImage] = []  # of the round in hand: one photo of each degradation
    rounds, turns = 0, cycle(kinds)
    for source, place in _shuffled([photos(folder) for folder in folders], seed):
        photo = _read(source, place, size=SURROUNDINGS * size, at_least=size)
        if isinstance(photo, SkippedFile):
            yield photo
            continue
        for kind in kinds if shared else [next(turns)]:
            made = _degraded(photo, kind, recipes.get(kind, USUAL), seed=seed)
            taken.append(ProbeImage(photo.scene, kind, _centre(made, size)))
        if len(taken) == len(kinds):
            yield from taken
            taken, rounds = [], rounds + 1
        if rounds == images:
            return


def from_folders(
    folders: Mapping[str, Path], *, images: int, size: int, seed: int = 0
) -> Generator[Read, None, None]:
    """Degraded images as they lie on disk, of a folder for each degradation, at random.

    Images of one name, as `maskdcpt degrade` writes them, count as one scene.

    Raises MaskDCPTError where a folder has no images.
    """
    for degradation, folder in folders.items():
        found = 0
        for source, place in _shuffled([photos(folder)], seed):
            image = _read(source, place, size=size, at_least=size)
            if isinstance(image, ProbeImage):
                found += 1
                image = image._replace(degradation=degradation)
            yield image
            if found == images:
                break


def _shuffled(sources: Sequence[FilePairs], seed: int) -> Iterator[tuple[FilePairs, int]]:
    """All places of all sources, in random order."""
    places = list(chain.from_iterable(((one, i) for i in range(len(one))) for one in sources))
    return (places[i] for i in default_rng(seed).permutation(len(places)))


def _read(source: FilePairs, place: int, *, size: int, at_least: int) -> Read:
    """The centre of an image, its degradation yet unknown."""
    path = Path(source.gt[place])
    try:
        pixels = source.read(place, partial(CENTRE.window, side=size)).gt
    except ImageError as error:
        return SkippedFile(str(error))
    height, width = pixels.shape[:2]
    if min(height, width) < at_least:
        return SkippedFile(f"{path} is smaller than {at_least}x{at_least} pixels.")
    return ProbeImage(path.with_suffix("").as_posix(), "", pixels)


def _degraded(photo: ProbeImage, kind: str, recipe: Synthesis, *, seed: int) -> Pixels:
    gt = np.divide(photo.pixels, 255, dtype=np.float32)
    words = (photo.scene, slug(kind))
    drawn_by = SeedSequence(
        (seed, *(zlib.crc32(word.encode("utf-8", "replace")) for word in words))
    )
    made = degrade(gt, kind, default_rng(drawn_by), kind=recipe.kind, levels=recipe.levels)
    return np.rint(made.lq * 255).astype(np.uint8)


def _centre(pixels: Pixels, size: int) -> Pixels:
    return np.ascontiguousarray(CENTRE.window(*pixels.shape[:2], side=size).of(pixels))
