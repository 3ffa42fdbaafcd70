"""Classification of the degradation of images.

Noise, blur and JPEG change single pixels, so nothing is ever resized: the network reads tiles as
large as the crops it was trained on, and the mean of their logits decides.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice, product
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from maskdcpt_cli.degradations import removable
from maskdcpt_cli.errors import ImageError, check_max_pixels
from maskdcpt_cli.files import shown
from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.images.reader import PhotoReader, reading_by
from maskdcpt_cli.images.reading import (
    Page,
    Photo,
    fill_transparent,
    page_from_array,
    upright,
)
from maskdcpt_cli.inference.heatmap import write_map
from maskdcpt_cli.inference.prefetch import prefetch
from maskdcpt_cli.models.backbone import pad_by_reflection
from maskdcpt_cli.weights.checkpoint import DegradationClassifier

# Measured on four held-out photos of 512x512, each with nine degradations, by a network trained on
# crops of 128. Accuracy: 72 % for the mean of the logits of 16 tiles, 67 % for the middle tile
# alone, 67 % for the photo in one piece, 56 % for tiles 5 pixels off a JPEG's blocks and a mosaic's
# pattern, 28 % for the photo shrunk to 128 pixels. A temperature fitted to single crops also suits
# the mean: its cross-entropy is 0.72, that of the middle tile 0.95.
# On 217 synthetic and real photos the accuracy of `tiny-classifier` is 65 % where its probability
# is below MIN_PROBABILITY, and 97 % on the others.
TILED_PIXELS = 64 * 128**2  # in all tiles of a photo, spread evenly; below it, they cover it
MAX_MAP_PIXELS = 400 * 128**2  # the same for its map, whose tiles are at least half a side apart
ALIGNMENT = 16  # pixels; tiles start at multiples of it, as the blocks of a JPEG do
BATCH_TILES = 8  # tiles in a batch of the network
MIN_PROBABILITY = 0.5  # below it, all other labels together are likelier
UNCERTAIN = "uncertain"


@dataclass(frozen=True)
class Found:
    """The degradations that a classifier found in a photo."""

    probabilities: Mapping[str, float]  # by label of the classifier, highest first
    labels: tuple[str, ...]  # abbreviations; () where the photo looks clean, or none is likely
    reduced: frozenset[str] = frozenset()  # of these, what the photo shows when it is reduced


@dataclass(frozen=True)
class Classified:
    """The classification of one photo; `probabilities` is empty where it failed."""

    path: Path
    probabilities: Mapping[str, float]  # by label of the classifier, highest first
    reason: str | None = None  # for which the photo, or its map, failed
    notices: tuple[str, ...] = ()  # messages for the user, a sentence each

    @property
    def answer(self) -> str | None:
        """The likeliest label (or CLEAN), UNCERTAIN below MIN_PROBABILITY, None on failure."""
        if not self.probabilities:
            return None
        label, probability = next(iter(self.probabilities.items()))
        return label if probability >= MIN_PROBABILITY else UNCERTAIN


def classify(classifier: DegradationClassifier, image: NDArray[Any]) -> dict[str, float]:
    """Classify the degradation of one image in memory.

    Args:
        classifier: The network, as `load_classifier` returns it.
        image: sRGB, (H, W) or (H, W, C) with C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha;
            uint8, uint16, or float32 in [0, 1].

    Returns:
        The probability of each label of the classifier, highest first.

    Raises:
        ImageError: `image` has another shape or dtype.
    """
    return _ordered(classifier, _probabilities(classifier, page_from_array(image), Colour()))


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
            likeliest label of each tile.
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
    """Return the degradations of a page, whose EXIF orientation is given, in its colour space."""
    probabilities = _ordered(
        classifier, _probabilities(classifier, page, colour, orientation=orientation)
    )
    label, probability = next(iter(probabilities.items()))
    return Found(probabilities, removable([label]) if probability >= MIN_PROBABILITY else ())


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
        found = _probabilities(classifier, photo.pages[0], photo.colour, orientation=turn)
    except (MemoryError, RuntimeError) as error:  # networks raise RuntimeError
        return Classified(photo.path, {}, f"{shown(photo.path)}: {str(error).strip()}", notices)
    reason = None
    if map_to:
        try:
            _write_map(classifier, photo, map_to, overwrite=overwrite)
        except (ImageError, MemoryError, RuntimeError) as error:
            reason = str(error).strip()
    return Classified(photo.path, _ordered(classifier, found), reason, notices)


def _probabilities(
    classifier: DegradationClassifier, page: Page, colour: Colour, *, orientation: int = 1
) -> Tensor:
    """Return the probability of each label, (classes,)."""
    size = (page.pixels.shape[0], page.pixels.shape[1])
    tile = classifier.crop_size
    rows, columns = tile_positions(size, tile=tile, step=tile, max_pixels=TILED_PIXELS)
    tiles = _tiles(page, colour, rows, columns, tile=tile, orientation=orientation)
    return _calibrated(classifier, _logits(classifier, tiles).mean(dim=0))


def _write_map(
    classifier: DegradationClassifier, photo: Photo, target: Path, *, overwrite: bool
) -> None:
    page, turn = photo.pages[0], photo.metadata.orientation
    size = (page.pixels.shape[0], page.pixels.shape[1])
    tile = classifier.crop_size
    rows, columns = tile_positions(
        size, tile=tile, step=max(tile // 2, 1), max_pixels=MAX_MAP_PIXELS
    )
    tiles = _tiles(page, photo.colour, rows, columns, tile=tile, orientation=turn)
    found = _calibrated(classifier, _logits(classifier, tiles))
    cells = upright(found.reshape(len(rows), len(columns), -1).numpy(), turn)
    likeliest = [[classifier.degradations[i] for i in row] for row in cells.argmax(axis=2)]
    write_map(photo, likeliest, cells.max(axis=2), target, overwrite=overwrite)


def tile_positions(
    size: tuple[int, int], *, tile: int, step: int, max_pixels: int
) -> tuple[list[int], list[int]]:
    """Return the top rows and left columns of tiles, spread evenly over a photo of (H, W).

    They are `step` pixels apart, or more where the tiles would exceed `max_pixels` in all.
    """
    height, width = size
    most = max(max_pixels // tile**2, 1)
    down, across = (max(ceil((length - tile) / step), 0) + 1 for length in size)
    if down * across > most:
        down = min(max(round(sqrt(most * height / width)), 1), down, most)
        across = min(most // down, across)
        down = min(most // across, down)
    return _spread(height, down, tile=tile), _spread(width, across, tile=tile)


def _spread(length: int, count: int, *, tile: int) -> list[int]:
    last = max(length - tile, 0)
    return [last * index // max(count - 1, 1) // ALIGNMENT * ALIGNMENT for index in range(count)]


def _tiles(
    page: Page,
    colour: Colour,
    rows: Sequence[int],
    columns: Sequence[int],
    *,
    tile: int,
    orientation: int,
) -> Iterator[Tensor]:
    """Yield tiles (3, h, w) in [0, 1], upright: rain falls down, a JPEG's blocks stay aligned."""
    pixels = fill_transparent(page)
    for top, left in product(rows, columns):
        crop = colour.to_srgb(pixels[top : top + tile, left : left + tile])
        yield torch.from_numpy(upright(crop, orientation).copy()).permute(2, 0, 1)


@torch.inference_mode()
def _logits(classifier: DegradationClassifier, tiles: Iterator[Tensor]) -> Tensor:
    """Return the logits (tiles, classes), on the CPU."""
    network = classifier.network
    device = next(network.parameters()).device
    found: list[Tensor] = []
    while batch := list(islice(tiles, BATCH_TILES)):
        padded = pad_by_reflection(torch.stack(batch), network.backbone.size_multiple)
        logits: Tensor = network(padded.to(device)).logits
        found.append(logits.float().cpu())
    return torch.cat(found)


def _calibrated(classifier: DegradationClassifier, logits: Tensor) -> Tensor:
    return (logits / (classifier.temperature or 1.0)).softmax(dim=-1)


def _ordered(classifier: DegradationClassifier, probabilities: Tensor) -> dict[str, float]:
    named = zip(classifier.degradations, probabilities.tolist(), strict=True)
    return dict(sorted(named, key=lambda one: -one[1]))
