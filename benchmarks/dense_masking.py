"""Masked pre-training as SparK does it, and the released code after it: on dense maps.

SparK (Tian et al., Designing BERT for convolutional networks, 2023, Sec. 3.1 and 3.4): every layer
runs on the whole map, whose hidden positions are then multiplied by zero; norms gather the visible
positions and scatter the result. Masks and indices are computed once here, not for every layer.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from maskdcpt_cli.models.classifier import Classifier, Standardise
from maskdcpt_cli.models.layers import ChannelNorm
from maskdcpt_cli.models.maskdcpt import MaskDCPT
from maskdcpt_cli.models.masking import PatchMask
from maskdcpt_cli.models.promptir import Prompt
from maskdcpt_cli.models.swinir import MLP, SwinIR


class DenseMask(PatchMask):
    """The mask for maps that stay on their grid (B, C, h, w), zero at hidden positions."""

    def __init__(self, visible: Tensor, *, size: tuple[int, int], patch_size: int) -> None:
        super().__init__(visible, size=size, patch_size=patch_size)
        self._shown = {  # (h, w) -> (B, 1, h, w), one where visible
            (height, width): torch.zeros(len(visible) * height * width)
            .index_fill(0, rows, 1)
            .view(-1, 1, height, width)
            for (height, width), rows in self._rows.items()
        }
        patches = (size[0] // patch_size) * (size[1] // patch_size)
        self.visible_fraction = visible.shape[1] / patches

    def __call__(self, op: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        grid = op(x)
        return self.hide(grid.clone() if grid is x else grid)

    def hide(self, grid: Tensor) -> Tensor:
        """Set hidden positions to zero in place, as SparK does: a copy would take longer."""
        shown = self._shown.get((grid.shape[-2], grid.shape[-1]))
        return grid if shown is None else grid.mul_(shown)

    def fill(self, x: Tensor, token: Tensor) -> Tensor:
        shown = self._shown.get((x.shape[-2], x.shape[-1]))
        return x if shown is None else torch.where(shown > 0, x, token.view(-1, 1, 1))

    def gathered(self, op: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Return op of the visible positions, zero elsewhere."""
        return super().fill(op(self.pack(x)), x.new_zeros(x.shape[1]))


def mask_densely(model: MaskDCPT, mask: DenseMask) -> None:
    """Make every layer of the encoder and the classifier leave zeros at hidden positions.

    Layers that the model runs through its mask do so already. Means over all positions become
    means over the visible ones.
    """
    outside = set() if model.reconstruction is None else set(model.reconstruction.modules())
    for part in set(model.modules()) - outside:
        if isinstance(part, (ChannelNorm, Standardise)):
            part.forward = partial(mask.gathered, part.forward)  # type: ignore[method-assign]
        elif isinstance(part, MLP) or (isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1)):
            part.register_forward_hook(lambda _part, _inputs, y: mask.hide(y))
        elif isinstance(part, nn.AdaptiveAvgPool2d):
            part.register_forward_hook(lambda _part, _inputs, mean: mean / mask.visible_fraction)
        elif isinstance(part, Prompt):
            part.linear_layer.register_forward_pre_hook(
                lambda _part, x: x[0] / mask.visible_fraction
            )
        elif isinstance(part, Classifier):
            part.linear.register_forward_pre_hook(lambda _part, x: x[0] / mask.visible_fraction)
        elif isinstance(part, SwinIR):  # it takes the mean colour from hidden pixels, too
            part.conv_first.register_forward_pre_hook(lambda _part, x: mask.hide(x[0]))
