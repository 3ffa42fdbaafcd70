"""Tiling of large images: read tiles, restore them, blend their overlap, and yield bands.

The memory does not grow with the height: of an image W pixels wide, at most three bands of
tile x W pixels are held.
"""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import product

import torch
from torch import Tensor

from maskdcpt_cli.errors import BackendError, MaskDCPTError
from maskdcpt_cli.inference.backends.engine import Network, RestoreTile
from maskdcpt_cli.inference.events import LEAST_TILE
from maskdcpt_cli.inference.out_of_memory import unless_out_of_memory
from maskdcpt_cli.models.backbone import Pad, pad_by_reflection

Read = Callable[[slice, slice], Tensor]  # rows, columns -> (3, h, w) in [0, 1]
Restore = Callable[[slice, slice], Tensor]  # rows, columns -> (1, 3, h, w), restored


SAMPLE_SIDE = 128
SAMPLES = 100


@dataclass(frozen=True)
class Band:
    """Finished rows of the photo over its whole width: (3, rows, W), not clipped.

    Bands come from top to bottom, each row once; no later tile reads their rows.
    """

    rows: slice
    restored: Tensor


@dataclass(frozen=True)
class Progress:
    """Further pixels are restored; over a photo they add up to H * W."""

    pixels: int


@dataclass(frozen=True)
class TileSizeReduced:
    """The tile size is reduced for the rest of the image, because memory ran out."""

    tile: int
    smaller: int


Step = Band | Progress | TileSizeReduced


def restore_tiles(
    network: Network,
    read: Read,
    size: tuple[int, int],
    *,
    tile: int,
    overlap: int,
    multiple: int = 1,
    samples: int = SAMPLES,
    pad: Pad = pad_by_reflection,
) -> Iterator[Step]:
    """Restore a photo of `size` (H, W), step by step.

    An axis longer than `tile` is cut into tiles of that length, rounded up to a `multiple`; 0 is
    one piece. `pad` completes the last tiles. Global pooling then runs first over `samples` tiles
    of the whole photo, whatever `tile` is. Where memory runs out, the tile size is halved, rounded
    down to a `multiple`.

    Raises:
        MaskDCPTError: The overlap is half a tile or more.
        BackendError: There is not enough memory even for the smallest tile.
    """
    if overlap < 0 or (tile and overlap >= tile / 2):
        raise MaskDCPTError(
            f"An overlap of {overlap} does not suit tiles of {tile}: "
            f"it goes from 0 to {(tile - 1) // 2} pixels."
        )
    photo = _Photo(read, size, multiple, pad)
    height, width = size
    if 0 < tile < max(size):
        tile = _up(max(tile, overlap + multiple), multiple)
    tile = min(tile or max(size), max(size))
    run = photo.in_tiles(network, samples) if tile < max(size) else photo.in_one_piece(network)
    top, report = 0, _Report()
    begun: Tensor | None = None  # rows from `top` on that the last row of tiles restored too
    while top < height:
        down, across = (even(side, tile, overlap=overlap, multiple=multiple) for side in size)
        rows, *later = spans(height, tile=down, overlap=overlap, start=top, multiple=multiple)
        bottom = later[0].start if later else height
        columns = list(spans(width, tile=across, overlap=overlap, multiple=multiple))
        strip = yield from _restore_row(run, rows, columns, bottom, report)
        if strip is not None:
            if begun is not None:
                begun = begun[:, : strip.shape[1]]
                both = strip[:, : begun.shape[1]]
                both.copy_(torch.lerp(begun, both, _ramp(both.shape[1], strip.device)[:, None]))
            yield Band(slice(top, bottom), strip[:, : bottom - top])
            begun, top = strip[:, bottom - top :].clone(), bottom
            continue
        smaller = tile // 2 // multiple * multiple
        if smaller < max(LEAST_TILE, 2 * multiple):
            raise BackendError(
                f"Out of memory at tiles of {tile} pixels, and smaller ones would not help; "
                "close other programs or take a smaller --model."
            )
        yield TileSizeReduced(tile, smaller)
        if tile == max(size):
            run = photo.in_tiles(network, samples)
        tile, overlap = smaller, min(overlap, (smaller - 1) // 2)


def _restore_row(
    run: Restore, rows: slice, columns: Sequence[slice], bottom: int, report: "_Report"
) -> Generator[Progress, None, Tensor | None]:
    """Restore a row of tiles, final down to `bottom`; None where memory ran out."""
    width = columns[-1].stop
    strip: Tensor | None = None
    done = 0
    for span in columns:
        add = partial(_add_tile, strip, run, rows, span, done=done, width=width)
        strip = unless_out_of_memory(add)
        if strip is None:
            return None
        done = span.stop
        yield report.up_to(rows.start * width + (bottom - rows.start) * done)
    return strip


def _add_tile(
    strip: Tensor | None, run: Restore, rows: slice, columns: slice, *, done: int, width: int
) -> Tensor:
    """Restore a tile and blend it into its strip, which ends at column `done` so far."""
    restored = run(rows, columns)[0]
    if strip is None:
        strip = restored.new_empty(3, rows.stop - rows.start, width)
    both = done - columns.start
    strip[..., columns.start : done].lerp_(restored[..., :both], _ramp(both, strip.device))
    strip[..., done : columns.stop] = restored[..., both:]
    return strip


class _Report:
    """Progress that never decreases, even where a row is restored again."""

    def __init__(self) -> None:
        self.pixels = 0

    def up_to(self, pixels: int) -> Progress:
        new = max(0, pixels - self.pixels)
        self.pixels += new
        return Progress(new)


class _Photo:
    """A photo that is read in rectangles."""

    def __init__(self, read: Read, size: tuple[int, int], multiple: int, pad: Pad) -> None:
        self.read = read
        self.size = size
        self.multiple = multiple
        self.pad = pad
        self.padded = torch.tensor([_up(side, multiple) for side in size] * 2)  # H, W, H, W

    def in_one_piece(self, network: Network) -> Restore:
        return lambda rows, columns: network(self.read(rows, columns)[None])

    def in_tiles(self, network: Network, samples: int) -> Restore:
        """Return a function that restores with pooled values, recorded by its first call."""

        @cache
        def recorded() -> RestoreTile:
            return self._record(network, samples)

        def restore(rows: slice, columns: slice) -> Tensor:
            lq, box = self._tile(rows, columns)
            restored = recorded()(lq, box)
            return restored[..., : rows.stop - rows.start, : columns.stop - columns.start]

        return restore

    def _record(self, network: Network, samples: int) -> RestoreTile:
        """Record the pooled values, with fewer samples where memory runs out."""
        boxes = sample_tiles(self.size, samples=samples, multiple=self.multiple)
        tiles, at = zip(*(self._tile(rows, columns) for rows, columns in boxes), strict=True)
        restore = unless_out_of_memory(lambda: network.record(torch.cat(tiles), torch.cat(at)))
        if restore is None and samples == 1:
            raise MemoryError
        return restore or self._record(network, samples // 2)

    def _tile(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        """Return a tile (1, 3, h, w), padded to multiples, and its box (1, 4) in the photo."""
        lq = self.pad(self.read(rows, columns)[None], self.multiple)
        box = torch.tensor([rows.start, columns.start, *lq.shape[-2:]]) / self.padded
        return lq, box[None]


def sample_tiles(
    size: tuple[int, int], *, samples: int, multiple: int = 1
) -> list[tuple[slice, slice]]:
    """Return about `samples` tiles (at least one), spread evenly over a photo of `size` (H, W).

    They start at multiples and do not overlap, unless the photo is smaller than a tile.
    """
    side = _up(SAMPLE_SIDE, multiple)
    most = [max(1, length // side) for length in size]
    rows = min(max(1, round(math.sqrt(samples * size[0] / size[1]))), most[0], samples)
    columns = min(max(1, samples // rows), most[1])
    rows = min(max(1, samples // columns), most[0])
    down, across = (
        _spread(length, side, count, multiple)
        for length, count in zip(size, (rows, columns), strict=True)
    )
    return list(product(down, across))


def _spread(length: int, side: int, count: int, multiple: int) -> list[slice]:
    """Return `count` tiles along an axis, each in the middle of an equal part."""
    if length <= side:
        return [slice(0, length)]
    starts = [(2 * i + 1) * length / (2 * count) - side / 2 for i in range(count)]
    aligned = [round(start / multiple) * multiple for start in starts]
    return [slice(start, min(start + side, length)) for start in aligned]


def even(length: int, tile: int, *, overlap: int, multiple: int = 1) -> int:
    """Return the length of the fewest equal tiles, of at most `tile`, that cover an axis."""
    if length <= tile:
        return length
    count = math.ceil((length - overlap) / (tile - overlap))
    while True:
        step = _up(math.ceil((length - overlap) / count), multiple)
        if step + overlap <= tile:
            return _up(step + overlap, multiple)
        count += 1


def spans(
    length: int, *, tile: int, overlap: int, start: int = 0, multiple: int = 1
) -> Iterator[slice]:
    """Yield tiles along an axis from `start`, at multiples, that overlap by at least `overlap`.

    All have the same length, the last one after padding to a multiple.
    """
    step = (tile - overlap) // multiple * multiple
    while start + tile < length:
        yield slice(start, start + tile)
        start = min(start + step, _up(length, multiple) - tile)
    yield slice(start, length)


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _ramp(length: int, device: torch.device) -> Tensor:
    """Return the weights of the later of two tiles over their overlap.

    They are a raised cosine over the middle third: zero padding shows in the outer thirds.
    """
    at = (torch.arange(length, device=device) + 0.5) / max(length, 1)
    return torch.sin((3 * at - 1).clip(0, 1) * (torch.pi / 2)) ** 2
