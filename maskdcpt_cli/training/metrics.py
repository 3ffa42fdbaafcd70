"""Two measures of restoration, cheap enough to be watched during training."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE, SIGMA = 11, 1.5  # of SSIM's Gaussian window, in pixels
C1, C2 = 0.01**2, 0.03**2


def psnr(restored: Tensor, gt: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of (1, 3, H, W) in [0, 1]; at most 100."""
    error = F.mse_loss(restored, gt).item()
    return -10 * math.log10(max(error, 1e-10))


def ssim(restored: Tensor, gt: Tensor) -> float:
    """Structural similarity of (1, 3, H, W) in [0, 1], the mean over channels.

    Wang et al., Image quality assessment: from error visibility to structural similarity, 2004,
    Eq. 13, at places whose whole window lies inside the image.
    """
    means = _smoothed(torch.cat([restored, gt, restored**2, gt**2, restored * gt]))
    x, y, xx, yy, xy = means.double().unbind()
    structure = (2 * (xy - x * y) + C2) / (xx - x * x + yy - y * y + C2)
    luminance = (2 * x * y + C1) / (x * x + y * y + C1)
    return (luminance * structure).mean().item()


def _smoothed(images: Tensor) -> Tensor:
    offsets = torch.arange(SIDE, device=images.device) - SIDE // 2
    weights = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    weights = (weights / weights.sum()).expand(images.shape[1], 1, 1, SIDE)
    rows = F.conv2d(images, weights, groups=len(weights))
    return F.conv2d(rows, weights.transpose(2, 3), groups=len(weights))
