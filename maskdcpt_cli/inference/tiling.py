"""Large photos: tiles are read, restored, blended over their overlap and handed on in bands.

Nothing here grows with the photo's height: of a photo W pixels wide, three bands of tile x W pixels
at most are held.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from maskdcpt_cli.errors import BackendError, MaskDCPTError
from maskdcpt_cli.inference.backends import Engine

Run = Callable[[Tensor], Tensor]  # (1, 3, h, w) -> the same shape, restored
Read = Callable[[slice, slice], Tensor]  # rows, columns -> (3, h, w) in [0, 1]

MINIMUM_TILE = 64
# Larger tiles are not faster. They come closer to the photo restored in one piece, whose global
# pooling sees all of it: tiles of 256 to 35-67 dB, of 512 to 45-72 dB, of 1024 to 50-78 dB.
LARGEST_CHOSEN_TILE = 1024
SMALLEST_CHOSEN_TILE = 128
CPU_BUDGET = 1_000_000_000  # bytes of activations that a pass may take on any machine
FREE_SHARE = 0.6  # of a GPU's free memory; the rest is for what the allocator cannot reuse

# What allocators say that have no exception type of their own: PyTorch's on the CPU, oneDNN's,
# OpenVINO's, ONNX Runtime's.
OUT_OF_MEMORY = (
    "not enough memory",
    "can't allocate memory",
    "could not create a memory",
    "bad_alloc",
    "bad allocation",
    "failed to allocate memory",
)


@dataclass(frozen=True)
class Band:
    """Finished rows of the photo over its whole width: (3, rows, W), not clipped.

    Bands come from top to bottom, each row once, and no tile that is still to come reads them.
    """

    rows: slice
    restored: Tensor


@dataclass(frozen=True)
class Progress:
    """So many more pixels are restored; over a photo they add up to H * W."""

    pixels: int


@dataclass(frozen=True)
class Retreat:
    """Memory ran out at one size of tile, so the rest is restored with a smaller one."""

    tile: int
    smaller: int


Step = Band | Progress | Retreat


def restore_tiles(
    run: Run, read: Read, size: tuple[int, int], *, tile: int, overlap: int, multiple: int = 1
) -> Iterator[Step]:
    """Restores a photo of `size` (H, W), step by step.

    An axis longer than `tile` is cut into tiles of exactly that length; 0 takes the photo in one
    piece. When `run` runs out of memory, tiles shrink to half, rounded down to a `multiple`.
    Raises MaskDCPTError for an overlap of half a tile and more, BackendError when there is no
    memory even for the smallest tile.
    """
    if overlap < 0 or (tile and overlap >= tile / 2):
        raise MaskDCPTError(
            f"An overlap of {overlap} does not suit tiles of {tile}: "
            f"it goes from 0 to {(tile - 1) // 2} pixels."
        )
    height, width = size
    tile = min(tile or max(size), max(size))
    top = reported = 0
    begun = torch.empty(3, 0, width)  # rows from `top` on that the last row of tiles restored too
    while top < height:
        rows, *later = spans(height, tile=tile, overlap=overlap, start=top)
        bottom = later[0].start if later else height
        strip = torch.empty(3, rows.stop - rows.start, width)
        done = 0
        for columns in spans(width, tile=tile, overlap=overlap):
            restored = _unless_out_of_memory(run, read(rows, columns)[None])
            if restored is None:
                break
            both = done - columns.start
            strip[..., columns.start : done].lerp_(restored[0, ..., :both], _ramp(both))
            strip[..., done : columns.stop] = restored[0, ..., both:]
            done = columns.stop
            finished = top * width + (bottom - top) * done
            yield Progress(max(0, finished - reported))
            reported = max(reported, finished)
        else:
            both = strip[:, : begun.shape[1]]
            both.copy_(torch.lerp(begun, both, _ramp(begun.shape[1])[:, None]))
            yield Band(slice(top, bottom), strip[:, : bottom - top])
            begun, top = strip[:, bottom - top :].clone(), bottom
            continue
        smaller = tile // 2 // multiple * multiple
        if smaller < MINIMUM_TILE:
            raise BackendError(
                f"Out of memory at tiles of {tile} pixels, and smaller ones would not help; "
                "close other programs or take a smaller --model."
            )
        yield Retreat(tile, smaller)
        tile, overlap, begun = smaller, min(overlap, (smaller - 1) // 2), begun[:, :smaller]


def choose_tile(engine: Engine, size: tuple[int, int]) -> int:
    """The largest tile that memory allows for a photo of `size` (H, W); 0 for one piece."""
    if torch.device(engine.device).type == "cuda":
        budget = FREE_SHARE * torch.cuda.mem_get_info(engine.device)[0]
    else:
        budget = CPU_BUDGET
    if engine.peak_bytes(math.ceil(math.sqrt(size[0] * size[1]))) <= budget:
        return 0
    step = math.lcm(64, engine.size_multiple)
    tiles = range(LARGEST_CHOSEN_TILE // step * step, SMALLEST_CHOSEN_TILE, -step)
    return next((t for t in tiles if engine.peak_bytes(t) <= budget), SMALLEST_CHOSEN_TILE)


def spans(length: int, *, tile: int, overlap: int, start: int = 0) -> Iterator[slice]:
    """Tiles along an axis from `start` on, all equally long; the last is shifted inwards."""
    while start + tile < length:
        yield slice(start, start + tile)
        start = min(start + tile - overlap, length - tile)
    yield slice(start, length)


def eightfold(run: Run) -> Run:
    """The mean over the eight flips and transpositions of what `run` restores (self-ensemble)."""

    def mean_of_eight(lq: Tensor) -> Tensor:
        total = torch.zeros_like(lq)
        for transposed, flipped in product((False, True), ((), (-1,), (-2,), (-2, -1))):
            turned = lq.flip(flipped)
            turned = turned.mT if transposed else turned
            restored = run(turned.contiguous())
            total += (restored.mT if transposed else restored).flip(flipped)
        return total / 8

    return mean_of_eight


def _ramp(length: int) -> Tensor:
    """How much of the later of two tiles a place of their overlap takes: a raised cosine."""
    return torch.sin((torch.arange(length) + 0.5) * (torch.pi / 2 / max(length, 1))) ** 2


def _unless_out_of_memory(run: Run, lq: Tensor) -> Tensor | None:
    """The restored lq, or None when there was not enough memory."""
    try:
        return run(lq)
    except (MemoryError, torch.OutOfMemoryError):
        pass
    except Exception as error:
        # Every runtime has exception types of its own; what is not about memory goes on.
        if not any(words in str(error).lower() for words in OUT_OF_MEMORY):
            raise
    torch.cuda.empty_cache()  # blocks cached for the larger tile are in the smaller one's way
    return None
