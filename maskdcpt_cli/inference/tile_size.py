"""Choice of the tile size, the overlap and the number of samples by the memory."""

import math

import torch

from maskdcpt_cli.inference.backends import Engine
from maskdcpt_cli.inference.tiling import SAMPLE_SIDE, SAMPLES

LARGEST_CHOSEN_TILE = 1024  # larger ones have a little less overlap, and are slower in PyTorch
SMALLEST_CHOSEN_TILE = 128
OVERLAP = 128  # zero padding changes what `tiny` restores up to 40 pixels away, by 1 of 255 on
SAMPLE_MEMORY_FACTOR = 2  # peak memory over the live activations, about that of the backends
CPU_BUDGET = 1_000_000_000  # bytes of activations that a pass may take on any CPU
# Of the live activations on CUDA, of whose elements the widest map has a third at most: PyTorch's
# kernels count those of a map in 32 bits, and the windows of an attention in 16.
MOST_BYTES = 3 * 2**31 * 4
FREE_FRACTION = 0.6  # of a GPU's free memory; the rest is for what the allocator cannot reuse


def choose_tile(engine: Engine, size: tuple[int, int]) -> int:
    """Return the tile size for a photo of `size` (H, W): 0, one piece, if memory allows it."""
    budget = _budget(engine)
    if engine.peak_bytes(math.ceil(math.sqrt(size[0] * size[1]))) <= budget:
        return 0
    step = math.lcm(64, engine.size_multiple)
    tiles = range(LARGEST_CHOSEN_TILE // step * step, SMALLEST_CHOSEN_TILE, -step)
    return next((t for t in tiles if engine.peak_bytes(t) <= budget), SMALLEST_CHOSEN_TILE)


def choose_overlap(tile: int) -> int:
    """Return the overlap of neighbouring tiles in pixels; a quarter of tiles below 512."""
    return min(OVERLAP, tile // 4) if tile else OVERLAP


def choose_samples(engine: Engine) -> int:
    """Return the number of sample tiles that fit in memory for global pooling, up to SAMPLES.

    It is the same with every backend, or the exposure of a photo would depend on it.
    """
    fit = _budget(engine) // (SAMPLE_MEMORY_FACTOR * engine.bytes_per_pixel * SAMPLE_SIDE**2)
    return max(1, min(SAMPLES, int(fit)))


def _budget(engine: Engine) -> float:
    """Return the bytes that the activations of a pass may take.

    The blocks that PyTorch keeps of earlier photos count as free; else the same photo would go in
    one piece first and in tiles later, and its pixels would depend on what came before it.
    """
    if torch.device(engine.device).type != "cuda":
        return CPU_BUDGET
    free, _total = torch.cuda.mem_get_info(engine.device)
    reserved = torch.cuda.memory_reserved(engine.device)
    kept = reserved - torch.cuda.memory_allocated(engine.device)
    return min(FREE_FRACTION * float(free + kept), engine.memory_factor * MOST_BYTES)
