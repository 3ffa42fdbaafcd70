"""Names what ails photos.

Noise, blur and JPEG are matters of single pixels, so nothing is ever resized: the network looks at
tiles as large as the crops that it learnt from, and the mean of their logits decides.
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

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.images.reading import Page, Photo, opaque, page_of, read_photo, upright
from maskdcpt_cli.inference.heatmap import write_map
from maskdcpt_cli.inference.prefetch import ahead
from maskdcpt_cli.models.backbone import pad_by_reflection
from maskdcpt_cli.weights.checkpoint import DegradationClassifier

# Measured on four held-out photos of 512x512, each in nine ways, by a network that learnt from
# crops of 128: of 16 tiles the mean of the logits names 72 % right, the middle one alone 67 %, the
# photo in one piece 67 %, tiles 5 pixels off a JPEG's blocks and a mosaic's pattern 56 %,
# the photo shrunk to 128 pixels 28 %. A temperature found with single crops serves the mean, too:
# cross-entropy 0.72, and 0.95 of the middle tile.
# Of 217 photos made and found, `tiny-classifier` names 65 % of those right of which it is less than
# SURE, 97 % of the others.
MOST_PIXELS = 64 * 128**2  # in all tiles of a photo, spread evenly; below this, they cover it
MOST_MAPPED = 400 * 128**2  # likewise, for its map, whose tiles lie half a side apart at least
ALIGNED = 16  # tiles begin at multiples of it, where a JPEG's blocks do
TOGETHER = 8  # tiles go through the network
SURE = 0.5  # with less, all others together are likelier
UNCERTAIN = "uncertain"


@dataclass(frozen=True)
class Classified:
    """What a photo was found to be; without probabilities where it could not be looked at."""

    path: Path
    probabilities: Mapping[str, float]  # by label of the classifier, the likeliest first
    reason: str | None = None  # why it, or its map, failed
    notices: tuple[str, ...] = ()  # what a person may want to know, a sentence each

    @property
    def answer(self) -> str | None:
        """The likeliest label, CLEAN among them, UNCERTAIN below SURE; None where it failed."""
        if not self.probabilities:
            return None
        label, probability = next(iter(self.probabilities.items()))
        return label if probability >= SURE else UNCERTAIN


def classify(classifier: DegradationClassifier, image: NDArray[Any]) -> dict[str, float]:
    """The probability of each label of the classifier, for one image held in memory.

    The likeliest comes first. `image` is as `restore` takes it. Raises ImageError for other arrays.
    """
    return _ordered(classifier, _probabilities(classifier, page_of(image), Colour()))


def classify_files(
    classifier: DegradationClassifier,
    paths: Iterable[Path],
    *,
    max_pixels: int | None = None,
    maps: Mapping[Path, Path] | None = None,
    overwrite: bool = False,
) -> Generator[Classified, None, None]:
    """Looks at photos one after another, where the network lies, while the next one is read.

    A photo that cannot be read is yielded with the reason, and the others go on. `maps` says where
    a map of a photo is to be written: what each of its tiles was found to be. `overwrite` lets it
    take the place of other files.
    """
    read = partial(_read, max_pixels=max_pixels)
    with ThreadPoolExecutor(1) as reader:
        for path, reading in ahead(reader, read, paths):
            photo = reading.result()
            if isinstance(photo, Classified):
                yield photo
                continue
            target = maps.get(path) if maps else None
            yield _look(classifier, photo, map_to=target, overwrite=overwrite)


def _read(path: Path, *, max_pixels: int | None) -> Photo | Classified:
    try:
        return read_photo(path, max_pixels=max_pixels)
    except ImageError as error:
        return Classified(path, {}, str(error))


def _look(
    classifier: DegradationClassifier, photo: Photo, *, map_to: Path | None, overwrite: bool
) -> Classified:
    notices = photo.notices
    if len(photo.pages) > 1:
        notices += (f"It has {len(photo.pages)} pages: the first one was looked at.",)
    turn = photo.metadata.orientation
    try:
        found = _probabilities(classifier, photo.pages[0], photo.colour, orientation=turn)
    except (MemoryError, RuntimeError) as error:  # the latter is what networks raise
        return Classified(photo.path, {}, f"{photo.path}: {str(error).strip()}", notices)
    reason = None
    if map_to:
        try:
            _draw(classifier, photo, map_to, overwrite=overwrite)
        except (ImageError, MemoryError, RuntimeError) as error:
            reason = str(error).strip()
    return Classified(photo.path, _ordered(classifier, found), reason, notices)


def _probabilities(
    classifier: DegradationClassifier, page: Page, colour: Colour, *, orientation: int = 1
) -> Tensor:
    """Of each label, (classes,)."""
    size = (page.pixels.shape[0], page.pixels.shape[1])
    tile = classifier.crop_size
    rows, columns = places(size, tile=tile, step=tile, most_pixels=MOST_PIXELS)
    tiles = _tiles(page, colour, rows, columns, tile=tile, orientation=orientation)
    return _calibrated(classifier, _logits(classifier, tiles).mean(dim=0))


def _draw(
    classifier: DegradationClassifier, photo: Photo, target: Path, *, overwrite: bool
) -> None:
    page, turn = photo.pages[0], photo.metadata.orientation
    size = (page.pixels.shape[0], page.pixels.shape[1])
    tile = classifier.crop_size
    rows, columns = places(size, tile=tile, step=max(tile // 2, 1), most_pixels=MOST_MAPPED)
    tiles = _tiles(page, photo.colour, rows, columns, tile=tile, orientation=turn)
    found = _calibrated(classifier, _logits(classifier, tiles))
    cells = upright(found.reshape(len(rows), len(columns), -1).numpy(), turn)
    likeliest = [[classifier.degradations[i] for i in row] for row in cells.argmax(axis=2)]
    write_map(photo, likeliest, cells.max(axis=2), target, overwrite=overwrite)


def places(
    size: tuple[int, int], *, tile: int, step: int, most_pixels: int
) -> tuple[list[int], list[int]]:
    """The rows and the columns at which tiles begin, spread evenly over a photo of (H, W).

    They lie `step` apart, or more where that would be more than `most_pixels` in all tiles.
    """
    height, width = size
    most = max(most_pixels // tile**2, 1)
    down, across = (max(ceil((length - tile) / step), 0) + 1 for length in size)
    if down * across > most:
        down = min(max(round(sqrt(most * height / width)), 1), down, most)
        across = min(most // down, across)
        down = min(most // across, down)
    return _spread(height, down, tile=tile), _spread(width, across, tile=tile)


def _spread(length: int, count: int, *, tile: int) -> list[int]:
    last = max(length - tile, 0)
    return [last * place // max(count - 1, 1) // ALIGNED * ALIGNED for place in range(count)]


def _tiles(
    page: Page,
    colour: Colour,
    rows: Sequence[int],
    columns: Sequence[int],
    *,
    tile: int,
    orientation: int,
) -> Iterator[Tensor]:
    """(3, h, w) in [0, 1], turned upright: rain falls down, and a JPEG's blocks stay aligned."""
    pixels = opaque(page)
    for top, left in product(rows, columns):
        looked_at = colour.to_srgb(pixels[top : top + tile, left : left + tile])
        yield torch.from_numpy(upright(looked_at, orientation).copy()).permute(2, 0, 1)


@torch.inference_mode()
def _logits(classifier: DegradationClassifier, tiles: Iterator[Tensor]) -> Tensor:
    """(tiles, classes), on the CPU."""
    network = classifier.network
    device = next(network.parameters()).device
    found: list[Tensor] = []
    while together := list(islice(tiles, TOGETHER)):
        padded = pad_by_reflection(torch.stack(together), network.backbone.size_multiple)
        logits: Tensor = network(padded.to(device)).logits
        found.append(logits.float().cpu())
    return torch.cat(found)


def _calibrated(classifier: DegradationClassifier, logits: Tensor) -> Tensor:
    return (logits / (classifier.temperature or 1.0)).softmax(dim=-1)


def _ordered(classifier: DegradationClassifier, probabilities: Tensor) -> dict[str, float]:
    named = zip(classifier.degradations, probabilities.tolist(), strict=True)
    return dict(sorted(named, key=lambda one: -one[1]))
