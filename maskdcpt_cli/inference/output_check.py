"""Check of the output of a network: reject what cannot be a restoration of its input.

A network can diverge even on a flat dark colour. The range of valid outputs was measured:
low light, haze and heavy rain move single pixels to -0.1 and 1.7 and means of 16x16 pixels to
-0.08 and 1.15, and low light makes a photo ten times brighter.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 16  # single pixels may overshoot at edges and lights, means of blocks hardly do
LOWEST, HIGHEST = -0.5, 2.0  # of a block, about four times as far out as any valid output
BLACK = 1 / 255
# A frame of heavy rain or noise before an even sky may well come out flat: the brightness of its
# blocks varies by less than half of STRUCTURE. Variation above it is the scene's, which stays where
# it was: real photos and their restorations correlate by 0.78 and more.
STRUCTURE, SAME_SCENE = 0.1, 0.3


def summary(lq: Tensor, restored: Tensor) -> Tensor:
    """Return the block means of lq and of what a network made of it, (2, B, 3, h, w).

    `restored` (B, 3, H, W) is not clipped. The means are on its device, and few.
    """
    return torch.stack([_blocks(lq), _blocks(restored)])


def judge(summary: Tensor) -> str | None:
    """Return why an output with this summary is no restoration of its input; None if it is."""
    before, after = summary
    if not torch.isfinite(after).all():  # one such pixel makes its block so
        return "the network's output holds NaN or infinite values"
    low, high = after.min().item(), after.max().item()
    if low < LOWEST or high > HIGHEST:
        return f"the network's output exploded: it reaches from {low:.3g} to {high:.3g}"
    shown = after.clip(0, 1)
    if shown.max() < BLACK and before.mean() > 10 * BLACK:
        return "the network's output is black"
    scene, shown_scene = _deviations(before), _deviations(shown)
    structured = scene.square().mean() > STRUCTURE**2
    if structured and F.cosine_similarity(scene, shown_scene, dim=0) < SAME_SCENE:
        return "the network's output shows nothing of the photo"
    return None


def _blocks(image: Tensor) -> Tensor:
    """Return the means of blocks, the last of a row or column over the remaining pixels."""
    return F.avg_pool2d(image, BLOCK, ceil_mode=True)


def _deviations(blocks: Tensor) -> Tensor:
    """Return the brightness of each block minus the mean of its image, flattened."""
    brightness = blocks.mean(dim=1)
    return (brightness - brightness.mean(dim=(-2, -1), keepdim=True)).flatten()
