"""Tells an output that no restoration could be from one that is merely far from its input.

A network can explode on an input as plain as a flat dark colour. What is legitimate was measured:
low light, haze and heavy rain move single pixels to -0.1 and 1.7 and means of 16x16 pixels to
-0.08 and 1.15, and low light makes a photo ten times brighter.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 16  # single pixels may overshoot at edges and lights, means of blocks hardly do
LOWEST, HIGHEST = -0.5, 2.0  # of a block, about four times as far out as anything legitimate
BLACK = 1 / 255
# A frame of heavy rain or noise before an even sky may well come out flat: its blocks vary by less
# than half of STRUCTURE. Variation above it is the scene's, and does not vanish.
STRUCTURE, FLAT = 0.1, 0.005


def check(lq: Tensor, restored: Tensor) -> str | None:
    """Why `restored` (B, 3, H, W), not clipped, cannot be a restoration of lq; None if it can."""
    if not torch.isfinite(restored).all():
        return "the network's output holds NaN or infinite values"
    before, after = _blocks(lq), _blocks(restored)
    low, high = after.min().item(), after.max().item()
    if low < LOWEST or high > HIGHEST:
        return f"the network's output exploded: it reaches from {low:.3g} to {high:.3g}"
    shown = after.clip(0, 1)
    if shown.max() < BLACK and before.mean() > 10 * BLACK:
        return "the network's output is black"
    if _variation(before) > STRUCTURE and _variation(shown) < FLAT:
        return "the network's output is one flat colour"
    return None


def _blocks(image: Tensor) -> Tensor:
    """The low-pass: means of blocks, the last of a row or column over what is left."""
    return F.avg_pool2d(image, BLOCK, ceil_mode=True)


def _variation(blocks: Tensor) -> Tensor:
    """How much the blocks differ, in the colour channel where they differ most."""
    return blocks.std(dim=(-2, -1), correction=0).max()
