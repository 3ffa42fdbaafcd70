"""Mask methods: the three arrangements of hidden patches of Table IX, as in SimMIM.

SimMIM (Xie et al., 2022, Sec. 3.2 and 4.1.2) compares random patches, one square at a random
position, and the blocks of BEiT. Every method hides exactly the requested number of patches, so all
images of a batch keep the same number (ours: with the latter two, theirs only approach the ratio).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

SMALLEST_BLOCK = 16  # patches, BEiT (Bao et al., 2022), algorithm 1
LONGEST_BLOCK = 1 / 0.3  # greatest ratio of its sides, as in BEiT

# (batch, rows, columns, hidden patches, generator) -> (batch, rows * columns), true where hidden
Method = Callable[[int, int, int, int, torch.Generator | None], Tensor]


def random(
    batch: int, rows: int, columns: int, hidden: int, generator: torch.Generator | None
) -> Tensor:
    """Hide a random set of patches, all sets with the same probability."""
    order = torch.rand(batch, rows * columns, generator=generator).argsort(dim=1)
    visible = order[:, : rows * columns - hidden]
    return torch.ones_like(order, dtype=torch.bool).scatter(1, visible, False)


def square(
    batch: int, rows: int, columns: int, hidden: int, generator: torch.Generator | None
) -> Tensor:
    """Hide one square at a random position.

    Its last row, or its first, is cut short where the square would hide too many patches, so that
    no corner of the image is visible in every sample (ours).
    """
    height = min(math.isqrt(max(hidden - 1, 0)) + 1, rows)
    height = max(height, -(-hidden // columns))
    width = -(-hidden // height)
    top = torch.randint(rows - height + 1, (batch, 1), generator=generator)
    left = torch.randint(columns - width + 1, (batch, 1), generator=generator)
    inside = torch.arange(hidden)
    indices = (top + inside // width) * columns + left + inside % width
    turned = torch.rand(batch, 1, generator=generator) < 0.5
    indices = torch.where(turned, rows * columns - 1 - indices, indices)
    return torch.zeros(batch, rows * columns, dtype=torch.bool).scatter(1, indices, True)


def block_wise(
    batch: int, rows: int, columns: int, hidden: int, generator: torch.Generator | None
) -> Tensor:
    """Hide overlapping rectangles; of the last one only the patches still missing (ours)."""
    return torch.stack([_blocks(rows, columns, hidden, generator) for _ in range(batch)])


def _blocks(rows: int, columns: int, hidden: int, generator: torch.Generator | None) -> Tensor:
    """Hide blocks in one image (BEiT, algorithm 1; aspect ratios on a log scale, as released)."""
    grid = torch.zeros(rows, columns, dtype=torch.bool)
    while missing := hidden - int(grid.sum()):
        size, aspect, top, left = torch.rand(4, generator=generator).tolist()
        least = min(SMALLEST_BLOCK, missing)
        area = least + size * (missing - least)
        stretch = LONGEST_BLOCK ** (aspect - 0.5)  # the square root of the ratio of the sides
        height = min(max(round(math.sqrt(area) * stretch), 1), rows)
        width = min(max(round(math.sqrt(area) / stretch), 1), columns)
        y, x = int(top * (rows - height + 1)), int(left * (columns - width + 1))
        block = torch.zeros_like(grid)
        block[y : y + height, x : x + width] = True
        fresh = (block & ~grid).nonzero()[:missing]
        grid[fresh[:, 0], fresh[:, 1]] = True
    return grid.flatten()


METHODS: dict[str, Method] = {"random": random, "square": square, "block-wise": block_wise}
