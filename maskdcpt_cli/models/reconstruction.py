"""The reconstruction decoder of pre-training (Sec. IV-A); its layers are ours.

The paper does not specify them. From the coarsest features to the finest, each map is unpacked to
its grid, with a learned mask token at hidden positions, and convolved. On the coarsest map, at an
eighth of the resolution (SwinIR: a quarter), a hidden patch is few positions wide: most blocks are
there, with a receptive field of 64 (32) pixels in every direction.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskdcpt_cli.models.layers import ChannelNorm
from maskdcpt_cli.models.masking import OnGrid, PatchMask, apply

DIMS = (32, 64, 96, 128)  # of the levels, finest first
COARSE_BLOCKS = 4  # at the coarsest level; one at each of the others


class ConvBlock(nn.Module):
    """A residual block of two convolutions on the whole grid."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(dim)
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.gelu(self.conv1(self.norm(x))))


class Reconstruction(nn.Module):
    """The decoder of the clean image, hidden positions included, from features of visible ones.

    `feature_dims` are the channels of the features, finest resolution first; `scale` is the width
    of a position of the finest in pixels; `dims` are the widths of the levels, finest first.
    """

    def __init__(
        self, feature_dims: Sequence[int], *, scale: int = 1, dims: Sequence[int] = DIMS
    ) -> None:
        super().__init__()
        dims = [dims[min(i, len(dims) - 1)] for i in range(len(feature_dims))]
        blocks = [1] * (len(dims) - 1) + [COARSE_BLOCKS]
        self.scale = scale
        self.projections = nn.ModuleList(
            nn.Conv2d(feature_dim, dim, 1)
            for feature_dim, dim in zip(feature_dims, dims, strict=True)
        )
        # State-dict keys: `tokens` are mask tokens, `rises` 1x1 projections before upsampling.
        self.tokens = nn.ParameterList(torch.zeros(dim) for dim in dims)
        self.levels = nn.ModuleList(
            nn.Sequential(*(ConvBlock(dim) for _ in range(n)))
            for dim, n in zip(dims, blocks, strict=True)
        )
        self.rises = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairwise(dims))
        self.rgb = nn.Conv2d(dims[0], 3 * scale**2, 3, padding=1)

    def forward(self, features: Sequence[Tensor], on_grid: OnGrid = apply) -> Tensor:
        """Return (B, 3, H, W) of features, finest first, each half the previous resolution."""
        maps = [
            _fill(project(feature), token, on_grid)
            for project, token, feature in zip(self.projections, self.tokens, features, strict=True)
        ]
        x = self.levels[-1](maps[-1])
        for i in reversed(range(len(self.rises))):
            x = self.levels[i](maps[i] + F.interpolate(self.rises[i](x), scale_factor=2.0))
        # Where nothing is hidden a token is unused, but distributed training expects its gradient.
        idle = 0 * torch.cat(list(self.tokens)).sum()
        return F.pixel_shuffle(self.rgb(x), self.scale) + idle


def _fill(x: Tensor, token: Tensor, on_grid: OnGrid) -> Tensor:
    """Return the map on its grid; an unmasked map has no hidden position for the token."""
    return on_grid.fill(x, token) if isinstance(on_grid, PatchMask) else x
