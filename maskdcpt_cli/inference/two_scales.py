"""Denoising at two scales: low frequencies come from the image reduced, where noise is weaker.

Denoisers leave the low frequencies of noise, as blotches in skies, the more, the softer the photo
is at the pixel. Facciolo, Pierazzo & Morel, "Conservative Scale Recomposition for Multiscale
Denoising", SIAM J. Imaging Sciences 10 (3), 2017, take them from a coarser scale. Here the finer
scale keeps what the coarser one loses: fine detail, and the means where noise is clipped.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from maskdcpt_cli.inference.backends.engine import Network, RestoreTile
from maskdcpt_cli.inference.coarse import box_mean
from maskdcpt_cli.models.backbone import Pad, pad_by_reflection

FACTOR = 3  # between the scales
RADIUS = 2  # of the windows in which the scales are compared, in pixels of the coarser one
RESIDUAL = 0.3  # power of the noise that a network leaves over that of all noise; coarser scale
QUANTILE = 0.25  # of the local power of noise; higher ones include detail that was lost
MAX_CLIPPED = 0.25  # fraction of values at 0 or 1 from which on the mean of noise is not zero
MEAN_RADIUS = 16  # of the windows in which means are compared, in pixels of the coarser scale


class TwoScales:
    """A network that takes low frequencies from what it makes of an image reduced.

    Global pooling is recorded for each scale separately; `pad` completes reduced tiles to a
    `multiple`.
    """

    def __init__(
        self, network: Network, *, multiple: int = 1, pad: Pad = pad_by_reflection
    ) -> None:
        self.network = network
        self.multiple = multiple
        self.pad = pad

    def __call__(self, lq: Tensor) -> Tensor:
        reduced = downsample(lq)
        return recompose(lq, self.network(lq), reduced, self.network(reduced))

    def record(self, tiles: Tensor, boxes: Tensor) -> RestoreTile:
        fine = self.network.record(tiles, boxes)
        coarse = self.network.record(self.pad(downsample(tiles), self.multiple), boxes)

        def restore(lq: Tensor, box: Tensor) -> Tensor:
            reduced = downsample(lq)
            height, width = reduced.shape[-2:]
            restored = coarse(self.pad(reduced, self.multiple), box)[..., :height, :width]
            return recompose(lq, fine(lq, box), reduced, restored)

        return restore


def downsample(image: Tensor) -> Tensor:
    """Return the means of FACTOR x FACTOR pixels of (B, C, H, W), at the borders of fewer."""
    return F.avg_pool2d(image, FACTOR, ceil_mode=True, count_include_pad=False)


def recompose(lq: Tensor, fine: Tensor, reduced: Tensor, coarse: Tensor) -> Tensor:
    """Return an image (B, 3, H, W) restored at two scales.

    Where these differ by more than what a network leaves of noise, one of them lost detail, and
    the more they differ, the less of the coarser one is taken.

    Args:
        lq: The noisy image, (B, 3, H, W) in [0, 1].
        fine: The image restored.
        reduced: The image reduced, (B, 3, h, w).
        coarse: The image reduced, then restored.
    """
    difference = coarse - downsample(fine)
    clipped = box_mean(downsample(((lq <= 0) | (lq >= 1)).to(lq)), RADIUS)
    difference -= (clipped / MAX_CLIPPED).clamp_(max=1) * box_mean(difference, MEAN_RADIUS)
    noise = _power(reduced - coarse)[..., :: 2 * RADIUS + 1, :: 2 * RADIUS + 1]
    left = RESIDUAL * noise.flatten(1).quantile(QUANTILE, dim=1).view(-1, 1, 1, 1)
    power = _power(difference).clamp_(min=torch.finfo(lq.dtype).tiny)
    difference *= (left / power).clamp_(max=1)
    height, width = fine.shape[-2:]
    smooth = F.interpolate(difference, scale_factor=FACTOR, mode="bilinear", align_corners=False)
    return fine + smooth[..., :height, :width]


def _power(image: Tensor) -> Tensor:
    """Return the mean square (B, 1, h, w) around each pixel."""
    return box_mean(image.square().mean(dim=1, keepdim=True), RADIUS)
