"""Classification of the degradation of images.

A classifier reads tiles of the photo as it is, and of the photo reduced; the mean of the logits of
each look decides. It is of one label, or of several (`multi_label`).
"""

from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskdcpt_cli.degradations import CLEAN, removable, scale
from maskdcpt_cli.errors import ImageError, check_max_pixels, words_of
from maskdcpt_cli.files import shown
from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.images.reader import PhotoReader, reading_by
from maskdcpt_cli.images.reading import Page, Photo, page_from_array, upright
from maskdcpt_cli.inference.heatmap import write_map
from maskdcpt_cli.inference.looking import page_logits, reduce_page, tile_logits, tile_positions
from maskdcpt_cli.inference.prefetch import prefetch
from maskdcpt_cli.weights.building import DegradationClassifier, pool_alternatives

MAX_MAP_PIXELS = 400 * 128**2  # in all tiles of a map, which are at least half a side apart
# Of a classifier of one label; measured by the embedded one before it found several. On 217
# synthetic and real photos its accuracy is 65 % where its probability is below MIN_PROBABILITY, and
# 97 % on the others.
MIN_PROBABILITY = 0.5  # below it, all other labels together are likelier
# On 38 photos of 2 to 20 megapixels made hazy, and made dark, the reduced one raises what is found
# from 16 to 26 and from 12 to 15; of 107 clean photos and drawings it takes 4 more for degraded (7
# with MIN_PROBABILITY).
MIN_REDUCED_PROBABILITY = 0.6  # of what a photo shows only when it is reduced
UNCERTAIN = "uncertain"


@dataclass(frozen=True)
class Found:
    """The degradations that a classifier found in a photo."""

    probabilities: Mapping[str, float]  # by label of the classifier, highest first
    labels: tuple[str, ...]  # abbreviations; () where the photo looks clean, or none is likely
    reduced: frozenset[str] = frozenset()  # of these, what the photo shows when it is reduced
    uncertain: bool = False  # of a classifier of one label: none is likely, not even CLEAN


@dataclass(frozen=True)
class Classified:
    """The classification of one photo; `probabilities` is empty where it failed."""

    path: Path
    probabilities: Mapping[str, float]  # by label of the classifier, highest first
    reason: str | None = None  # for which the photo, or its map, failed
    notices: tuple[str, ...] = ()  # messages for the user, a sentence each
    labels: tuple[str, ...] = ()  # abbreviations, as `Found.labels`
    multi_label: bool = False  # whether the classifier finds several degradations

    @property
    def answer(self) -> str | None:
        """The likeliest label (or CLEAN), UNCERTAIN below MIN_PROBABILITY, None on failure.

        Of several labels, the likeliest that is above its threshold; CLEAN where none is.
        """
        if not self.probabilities:
            return None
        if self.multi_label:
            return self.labels[0] if self.labels else CLEAN
        label, probability = next(iter(self.probabilities.items()))
        return label if probability >= MIN_PROBABILITY else UNCERTAIN


def classify(classifier: DegradationClassifier, image: NDArray[Any]) -> dict[str, float]:
    """Classify the degradation of one image in memory.

    Args:
        classifier: The network, as `load_classifier` returns it.
        image: sRGB, (H, W) or (H, W, C) with C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha;
            uint8, uint16, or float32 in [0, 1].

    Returns:
        The probability of each label of the classifier, highest first. A photo has those labels of
        a multi-label classifier whose probability is above `classifier.threshold(label)`; of the
        kinds of noise, and of blur, the likeliest has the probability of all together.

    Raises:
        ImageError: `image` has another shape or dtype.
    """
    return dict(find_degradations(classifier, page_from_array(image), Colour()).probabilities)


def classify_files(
    classifier: DegradationClassifier,
    paths: Iterable[Path],
    *,
    max_pixels: int | None = MAX_PIXELS,
    maps: Mapping[Path, Path] | None = None,
    overwrite: bool = False,
    reader: PhotoReader | None = None,
) -> Generator[Classified, None, None]:
    """Classify the degradation of image files one by one, on the device of the network.

    The next file is read in the meantime. A file that cannot be read does not stop the others.

    Args:
        classifier: The network, as `load_classifier` returns it.
        paths: The files.
        max_pixels: Larger images are refused; None for no limit.
        maps: The file to write the map of a photo to, by the path of the photo; a map shows the
            likeliest label of each tile; of several labels, CLEAN where none is above its
            threshold.
        overwrite: Let maps replace other files.
        reader: Reader of the files; None opens one.

    Returns:
        An iterator of one `Classified` per file, in order; where the file or its map failed, its
        `reason` says why.

    Raises:
        MaskDCPTError: `max_pixels` is below 1.
    """
    check_max_pixels(max_pixels)
    # The files are closed first: a thread that reads one ends then.
    with ThreadPoolExecutor(1) as thread, reading_by(reader) as files:
        read = partial(_read, files, max_pixels=max_pixels)
        for path, reading in prefetch(thread, read, paths):
            photo = reading.result()
            if isinstance(photo, Classified):
                yield photo
                continue
            target = maps.get(path) if maps else None
            yield _classify_photo(classifier, photo, map_to=target, overwrite=overwrite)


def find_degradations(
    classifier: DegradationClassifier, page: Page, colour: Colour, *, orientation: int = 1
) -> Found:
    """Return the degradations of a page, whose EXIF orientation is given, in its colour space.

    A multi-label classifier looks at the page as it is and reduced, and each type is judged by its
    scale: one of the scene by the reduced page, one of the pixel by the page as it is, others by
    the look that is surer. Of a classifier of one label a type of the pixel that the page as it is
    shows counts first, then the look that is surer; the reduced page shows no type of the pixel.
    """

    def look(one: Page) -> Tensor:
        logits = page_logits(classifier, one, colour, orientation=orientation)
        return _calibrated(classifier, logits)

    native = look(page)
    if classifier.multi_label:
        smaller = reduce_page(page)
        return _found_several(classifier, native, native if smaller is page else look(smaller))
    found = _found_one(classifier, native, least=MIN_PROBABILITY)
    if any(scale(label) == "pixel" for label in found.labels):
        return found
    if (smaller := reduce_page(page)) is page:
        return found
    reduced = _found_one(classifier, look(smaller), least=MIN_REDUCED_PROBABILITY)
    labels = tuple(label for label in reduced.labels if scale(label) != "pixel")
    if not labels or (found.labels and _highest(found) > _highest(reduced)):
        return found
    return replace(reduced, labels=labels, reduced=frozenset(labels))


def _highest(found: Found) -> float:
    return next(iter(found.probabilities.values()))


def _found_one(classifier: DegradationClassifier, seen: Tensor, *, least: float) -> Found:
    """Return the likeliest label, if it has at least that probability."""
    probabilities = _ordered(classifier, seen)
    label, probability = next(iter(probabilities.items()))
    if probability < least:
        return Found(probabilities, (), uncertain=True)
    return Found(probabilities, removable([label]))


def _found_several(classifier: DegradationClassifier, native: Tensor, reduced: Tensor) -> Found:
    """Return the labels above their thresholds in the page as it is, or reduced."""
    looks = {"scene": reduced, "pixel": native, "either": torch.maximum(native, reduced)}
    known = classifier.degradations
    seen = torch.stack([looks[scale(label)][index] for index, label in enumerate(known)])
    probabilities = _ordered(classifier, pool_alternatives(seen, known))
    labels = tuple(
        label for label, value in probabilities.items() if value > classifier.threshold(label)
    )
    shown_reduced = frozenset(
        label
        for label, is_surer in zip(known, (reduced == seen).tolist(), strict=True)
        if label in labels and scale(label) != "pixel" and is_surer
    )
    return Found(probabilities, labels, shown_reduced)


def _read(reader: PhotoReader, path: Path, *, max_pixels: int | None) -> Photo | Classified:
    try:
        return reader.read(path, max_pixels=max_pixels)
    except ImageError as error:
        return Classified(path, {}, str(error))


def _classify_photo(
    classifier: DegradationClassifier, photo: Photo, *, map_to: Path | None, overwrite: bool
) -> Classified:
    notices = photo.notices
    if len(photo.pages) > 1:
        notices += (f"It has {len(photo.pages)} pages: only the first one was classified.",)
    turn = photo.metadata.orientation
    try:
        found = find_degradations(classifier, photo.pages[0], photo.colour, orientation=turn)
    except Exception as error:  # of a network, of OpenCV
        return Classified(photo.path, {}, f"{shown(photo.path)}: {words_of(error)}", notices)
    reason = None
    if map_to:
        try:
            _write_map(classifier, photo, found, map_to, overwrite=overwrite)
        except Exception as error:  # as above, or of a disk
            reason = words_of(error)
    return Classified(
        photo.path, found.probabilities, reason, notices, found.labels, classifier.multi_label
    )


def _write_map(
    classifier: DegradationClassifier, photo: Photo, found: Found, target: Path, *, overwrite: bool
) -> None:
    page, turn = photo.pages[0], photo.metadata.orientation
    size = (page.pixels.shape[0], page.pixels.shape[1])
    tile = classifier.crop_size
    rows, columns = tile_positions(
        size, tile=tile, step=max(tile // 2, 1), max_pixels=MAX_MAP_PIXELS
    )
    logits = tile_logits(classifier, page, photo.colour, rows, columns, orientation=turn)
    probabilities = _calibrated(classifier, logits)
    if classifier.multi_label:
        probabilities = pool_alternatives(probabilities, classifier.degradations)
    labels, sure = _likeliest(classifier, probabilities.numpy(), found)
    cells = [upright(np.reshape(one, (len(rows), len(columns))), turn) for one in (labels, sure)]
    write_map(photo, cells[0].tolist(), cells[1], target, overwrite=overwrite)


def _likeliest(
    classifier: DegradationClassifier, tiles: NDArray[np.float32], found: Found
) -> tuple[NDArray[np.str_], NDArray[np.float32]]:
    """Return the likeliest label of each tile, and how sure it is, from probabilities (tiles, ...).

    What is a matter of the scene is as likely in each tile as in the whole photo.
    """
    labels = np.array(classifier.degradations)
    if not classifier.multi_label:
        return labels[tiles.argmax(axis=1)], tiles.max(axis=1)
    for index, label in enumerate(classifier.degradations):
        if scale(label) == "scene":
            tiles[:, index] = found.probabilities[label]
    above = tiles > [classifier.threshold(label) for label in classifier.degradations]
    likeliest = np.where(above, tiles, -1).argmax(axis=1)
    clean = ~above.any(axis=1)
    sure = np.where(clean, 1 - tiles.max(axis=1), tiles[np.arange(len(tiles)), likeliest])
    return np.where(clean, CLEAN, labels[likeliest]), sure


def _calibrated(classifier: DegradationClassifier, logits: Tensor) -> Tensor:
    scaled = logits / (classifier.temperature or 1.0)
    return scaled.sigmoid() if classifier.multi_label else scaled.softmax(dim=-1)


def _ordered(classifier: DegradationClassifier, probabilities: Tensor) -> dict[str, float]:
    named = zip(classifier.degradations, probabilities.tolist(), strict=True)
    return dict(sorted(named, key=lambda one: -one[1]))
