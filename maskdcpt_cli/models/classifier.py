"""The degradation classification decoder (Sec. IV-A, Eq. 3).

A ResNet-18 (He et al., 2016) with layer normalisation instead of batch normalisation, which takes
the features of the restoration network instead of an image.
"""

from collections.abc import Sequence
from itertools import pairwise, zip_longest

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskdcpt_cli.models.layers import BlockSequence, ChannelNorm
from maskdcpt_cli.models.masking import OnGrid, apply

STD_EPS = 1e-3  # in units of the features, for the standard deviation, which is 0 in a flat image
DIMS = (64, 128, 256, 512)  # of the stages, as ResNet-18's


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut (He et al., Fig. 5, left)."""

    def __init__(self, dim: int, dim_out: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim_out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = ChannelNorm(dim_out)
        self.conv2 = nn.Conv2d(dim_out, dim_out, 3, padding=1, bias=False)
        self.norm2 = ChannelNorm(dim_out)
        # Subsampled first: a strided 1x1 convolution of few channels corrupts memory in its
        # backward pass on the CPU (oneDNN in PyTorch 2.14).
        self.shortcut = (
            nn.Sequential(nn.AvgPool2d(1, stride), nn.Conv2d(dim, dim_out, 1))
            if stride > 1
            else None
        )

    def forward(self, x: Tensor, on_grid: OnGrid = apply) -> Tensor:
        y = F.relu(self.norm1(on_grid(self.conv1, x)))
        y = self.norm2(on_grid(self.conv2, y))
        return F.relu(y + (x if self.shortcut is None else on_grid(self.shortcut, x)))


class Standardise(nn.Module):
    """Subtraction of the mean of each channel, division by the standard deviation of the image.

    The brightness dominates the features, and layer norms keep it: without this module, noise of
    sigma 25 changes the output of an untrained decoder by less than a hundredth.
    """

    def forward(self, x: Tensor) -> Tensor:
        # In float32: the square of 256, and the sums of gradients, exceed the range of fp16.
        centred = x.float() - x.float().mean(dim=(-2, -1), keepdim=True)
        variance = centred.square().mean(dim=(1, 2, 3), keepdim=True)
        return (centred * (variance + STD_EPS**2).rsqrt()).to(x.dtype)


class Classifier(nn.Module):
    """The classifier of the degradation, from the features of the restoration network.

    The i-th of up to four features is added at the i-th stage: standardised (ours), projected to
    the width of the stage, times a learned scale. Each stage halves the resolution for the next.
    `feature_dims` are the channels of the features, finest resolution first.
    """

    def __init__(
        self,
        feature_dims: Sequence[int],
        *,
        classes: int,
        dims: Sequence[int] = DIMS,
    ) -> None:
        super().__init__()
        if not 1 <= len(feature_dims) <= len(dims):
            raise ValueError(
                f"The classifier has {len(dims)} stages and takes 1 to {len(dims)} features, "
                f"but this backbone has {len(feature_dims)}; give it fewer decoder stages."
            )
        self.scales = nn.Parameter(torch.zeros(len(feature_dims)))  # softmax, as released
        self.standardise = Standardise()
        self.projections = nn.ModuleList(
            nn.Conv2d(feature_dim, dim, 1)
            for feature_dim, dim in zip(feature_dims, dims, strict=False)
        )
        strides = [2] * (len(dims) - 1) + [1]
        self.stages = nn.ModuleList(
            BlockSequence([BasicBlock(d, d, stride=1), BasicBlock(d, d_out, stride=stride)])
            for (d, d_out), stride in zip(pairwise([*dims, dims[-1]]), strides, strict=True)
        )
        self.linear = nn.Linear(dims[-1], classes)

    def forward(self, features: Sequence[Tensor], on_grid: OnGrid = apply) -> Tensor:
        """Return logits (B, classes); features come finest first, each half the previous size."""
        scales = self.scales.softmax(dim=0).unbind()
        x, *joining = (
            scale * project(self.standardise(feature))
            for scale, project, feature in zip(scales, self.projections, features, strict=True)
        )
        x = self.stages[0](x, on_grid)
        for stage, other in zip_longest(self.stages[1:], joining):
            x = stage(x if other is None else x + other, on_grid)
        return self.linear(x.mean(dim=(-2, -1)))  # of the visible positions
