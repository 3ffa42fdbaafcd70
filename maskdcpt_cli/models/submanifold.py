"""Submanifold convolution of a packed map: at the visible positions, without unpacking the grid.

Where patches are wide, each visible one is convolved with a halo of one position around it; where
they are small, each position with its neighbours, as one matrix product. Hidden neighbours are
zero.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST_WITH_HALO = 4  # positions across a patch; smaller ones would be mostly halo


class NeighbourIndex:
    """The index of the neighbours of visible positions in maps of `size` (h, w), for 3x3 kernels.

    `rows` are the visible positions among all of the batch, patch by patch, as a packed map holds
    them; `visible` (B, kept) are the visible patches, which are `patch` positions across.
    """

    def __init__(self, rows: Tensor, visible: Tensor, *, size: tuple[int, int], patch: int) -> None:
        self.patch = patch
        images, hidden = torch.arange(len(visible), device=rows.device), len(rows)
        numbers = rows.new_full((len(visible) * size[0] * size[1],), hidden)
        numbers[rows] = torch.arange(hidden, device=rows.device)
        gathered = F.pad(numbers.view(-1, *size), (1, 1, 1, 1), value=hidden)
        if patch >= LEAST_WITH_HALO:
            windows = gathered.unfold(1, patch + 2, patch).unfold(2, patch + 2, patch).flatten(1, 2)
            self.windows = windows[images[:, None], visible].flatten(0, 1)
        else:
            self.windows = gathered.unfold(1, 3, 1).unfold(2, 3, 1).flatten(0, 2)[rows]

    def supports(self, conv: nn.Conv2d) -> bool:
        """Return whether this convolution reads no other positions than these, and has no hooks."""
        form = (conv.kernel_size, conv.padding, conv.dilation, conv.padding_mode)
        if form != ((3, 3), (1, 1), (1, 1), "zeros") or _has_hooks(conv):
            return False
        if self.patch < LEAST_WITH_HALO:
            return conv.stride == (1, 1) and conv.groups == 1
        return conv.stride == (1, 1) or (conv.stride == (2, 2) and self.patch % 2 == 0)

    def convolve(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        """Convolve a packed map (B, C, 1, visible positions); the result is packed, too."""
        batch, channels = x.shape[:2]
        visible = x.permute(0, 2, 3, 1).reshape(-1, channels)
        gathered = torch.cat([visible, visible.new_zeros(1, channels)])
        gathered = gathered.index_select(0, self.windows.flatten()).view(
            *self.windows.shape, channels
        )
        if self.patch < LEAST_WITH_HALO:
            y = F.linear(gathered.flatten(1), conv.weight.permute(0, 2, 3, 1).flatten(1), conv.bias)
        else:
            gathered = gathered.permute(0, 3, 1, 2)
            y = F.conv2d(gathered, conv.weight, conv.bias, conv.stride, groups=conv.groups)
            y = y.permute(0, 2, 3, 1)
        return y.reshape(batch, 1, -1, conv.out_channels).permute(0, 3, 1, 2)


def _has_hooks(module: nn.Module) -> bool:
    """Return whether a call of the module runs more than its forward, as with a spectral norm."""
    return bool(
        module._forward_pre_hooks
        or module._forward_hooks
        or module._backward_pre_hooks
        or module._backward_hooks
    )
