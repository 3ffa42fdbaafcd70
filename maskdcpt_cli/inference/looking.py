"""The tiles of a photo that a classifier looks at, and the photo reduced.

Noise, blur and JPEG change single pixels, so tiles are never resized: they are as large as the
crops that the network was trained on. Haze and darkness are of the whole scene, which such a tile
of a large photo does not show: for them a multi-label classifier looks at the photo reduced, too.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice, product
from math import ceil, sqrt

import torch
from torch import Tensor, nn

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.images.reading import Page, fill_transparent, shrink, upright
from maskdcpt_cli.inference.backends.fp32 import tf32
from maskdcpt_cli.inference.out_of_memory import unless_out_of_memory
from maskdcpt_cli.models.backbone import pad_by_reflection
from maskdcpt_cli.weights.building import DegradationClassifier

# Measured on four held-out photos of 512x512, each with nine degradations, by a network trained on
# crops of 128. Accuracy: 72 % for the mean of the logits of 16 tiles, 67 % for the middle tile
# alone, 67 % for the photo in one piece, 56 % for tiles 5 pixels off a JPEG's blocks and a mosaic's
# pattern, 28 % for the photo shrunk to 128 pixels. A temperature fitted to single crops also suits
# the mean: its cross-entropy is 0.72, that of the middle tile 0.95.
# Of a multi-label network after 450 iterations, on 16 tiles of each of 60 clean photos of 512x512
# and of 10 others, each degraded in 13 ways: the area under the ROC curve of a type against clean
# photos, the mean over types, is 0.915 for the mean of the logits, 0.899 and 0.887 for their 75th
# and 90th percentile, 0.884 for their maximum (which finds drops better: 0.72 instead of 0.58).
TILED_PIXELS = 64 * 128**2  # in all tiles of a photo, spread evenly; below it, they cover it
REDUCED_PIXELS = 300_000  # of the copy of a large photo, about as many as training photos have
ALIGNMENT = 16  # pixels; tiles start at multiples of it, as the blocks of a JPEG do
BATCH_TILES = 8  # tiles in a batch of the network


def reduce_page(page: Page) -> Page:
    """Return a page averaged down to at most REDUCED_PIXELS; the page itself if it has no more."""
    height, width = page.pixels.shape[:2]
    factor = sqrt(REDUCED_PIXELS / (height * width))
    if factor >= 1:
        return page
    across = max(1, int(width * factor))
    # The short side of a very long page cannot be reduced in proportion.
    down = max(1, min(int(height * factor), REDUCED_PIXELS // across))
    across = min(across, REDUCED_PIXELS // down)
    return replace(page, pixels=shrink(fill_transparent(page), (across, down)), alpha=None)


def page_logits(
    classifier: DegradationClassifier, page: Page, colour: Colour, *, orientation: int
) -> Tensor:
    """Return the logits of a page, (classes,): the mean over tiles that are spread evenly."""
    size = (page.pixels.shape[0], page.pixels.shape[1])
    tile = classifier.crop_size
    rows, columns = tile_positions(size, tile=tile, step=tile, max_pixels=TILED_PIXELS)
    return tile_logits(classifier, page, colour, rows, columns, orientation=orientation).mean(dim=0)


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
    if count == 1:
        return [last // 2 // ALIGNMENT * ALIGNMENT]
    return [last * index // (count - 1) // ALIGNMENT * ALIGNMENT for index in range(count)]


@torch.inference_mode()
def tile_logits(
    classifier: DegradationClassifier,
    page: Page,
    colour: Colour,
    rows: Sequence[int],
    columns: Sequence[int],
    *,
    orientation: int,
) -> Tensor:
    """Return the logits (tiles, classes) of the tiles at rows and columns, on the CPU."""
    network = classifier.network
    device = next(network.parameters()).device
    found: list[Tensor] = []
    tiles = _tiles(page, colour, rows, columns, tile=classifier.crop_size, orientation=orientation)
    while batch := list(islice(tiles, BATCH_TILES)):
        padded = pad_by_reflection(torch.stack(batch), network.backbone.size_multiple)
        found.append(_logits(network, padded, device))
    logits = torch.cat(found)
    if not logits.isfinite().all():
        raise ImageError("The classifier gives no finite values: its weights are damaged.")
    return logits


def _logits(network: nn.Module, tiles: Tensor, device: torch.device) -> Tensor:
    """Return the logits of a batch, in halves where memory runs out."""

    def run() -> Tensor:
        there = tiles.to(device)  # waits, and nobody with it
        with tf32(allowed=False) if device.type == "cuda" else nullcontext():
            logits: Tensor = network(there).logits
        return logits.float().cpu()

    found = unless_out_of_memory(run)
    if found is not None:
        return found
    if len(tiles) == 1:
        raise MemoryError(f"There is not enough memory on '{device}' to classify the photo.")
    return torch.cat([_logits(network, half, device) for half in tiles.tensor_split(2)])


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
