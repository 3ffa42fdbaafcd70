"""Frequency form: bands of the input's spectrum modulate the features (AdaIR, Cui et al., 2025).

A low-pass filter of the Fourier transform, whose cut-offs the image decides, splits the input into
two bands.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskdcpt_cli.models.fourier import low_pass
from maskdcpt_cli.models.layers import ChannelCrossAttention
from maskdcpt_cli.models.masking import OnGrid, apply
from maskdcpt_cli.models.pooling import GlobalPool, whole_image

MAX_CUTOFF = 0.25  # cycles per position: half of the frequencies along an axis
ROLL_OFF = 0.04  # cycles per position; the softer, the less far a position reaches


class FrequencyBlock(nn.Module):
    """Adaptive frequency learning block, AFLB (AdaIR, Sec. 3): mining, then modulation.

    It changes nothing at first: `beta` is 0.
    """

    def __init__(self, dim: int, *, scale: int, heads: int, bias: bool) -> None:
        """Prepare a block for features of `dim` channels, whose positions are `scale` pixels."""
        super().__init__()
        self.mining = FrequencyMining(dim, scale=scale, heads=heads, bias=bias)
        self.modulation = FrequencyModulation(dim)
        self.aggregation = ChannelCrossAttention(dim, heads=heads, bias=bias)
        self.beta = nn.Parameter(torch.zeros(1, dim, 1, 1))

    def forward(
        self, x: Tensor, lq: Tensor, on_grid: OnGrid = apply, pool: GlobalPool = whole_image
    ) -> Tensor:
        low, high = self.mining(x, lq, on_grid, pool)
        modulated = self.modulation(low, high, on_grid, pool)
        return x + self.beta * self.aggregation(x, modulated, on_grid, pool)


class FrequencyMining(nn.Module):
    """Frequency mining module, FMiM (AdaIR, Sec. 3.1): what features hold of each band of lq.

    Ours is a filter with a soft edge and a cut-off in cycles per position: its gradient trains the
    cut-off, and tiles are filtered as the whole image is. AdaIR's rectangle is rounded to whole
    frequencies. Ours averages the pixels of a position, AdaIR samples them.
    """

    def __init__(self, dim: int, *, scale: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.scale = scale
        self.embed = nn.Conv2d(3, dim, 3, padding=1, bias=False)
        reduced = max(dim // 8, 1)
        self.cutoffs = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(dim, reduced, 1, bias=False),
            nn.GELU(),
            nn.Conv2d(reduced, 2, 1, bias=False),
            nn.Sigmoid(),
        )
        self.attend_low = ChannelCrossAttention(dim, heads=heads, bias=bias)
        self.attend_high = ChannelCrossAttention(dim, heads=heads, bias=bias)

    def forward(
        self, x: Tensor, lq: Tensor, on_grid: OnGrid, pool: GlobalPool
    ) -> tuple[Tensor, Tensor]:
        image = on_grid(lambda pixels: self.embed(F.avg_pool2d(pixels, self.scale)), lq)
        cutoffs = MAX_CUTOFF * pool(self.cutoffs, image).flatten(1)
        low = on_grid(partial(low_pass, cutoffs=cutoffs, roll_off=ROLL_OFF), image)
        return (
            self.attend_low(low, x, on_grid, pool),
            self.attend_high(image - low, x, on_grid, pool),
        )


class FrequencyModulation(nn.Module):
    """Frequency modulation module, FMoM (AdaIR, Sec. 3.2): each band weights the other.

    The high band weights the positions of the low one (H-L unit), the low band the channels of the
    high one (L-H unit).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        reduced = max(dim // 16, 1)
        self.positions = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.channels = nn.Sequential(
            nn.Conv2d(dim, reduced, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(reduced, dim, 1, bias=False),
        )
        self.project_out = nn.Conv2d(dim, dim, 1)

    def forward(self, low: Tensor, high: Tensor, on_grid: OnGrid, pool: GlobalPool) -> Tensor:
        peaks = torch.cat([high.amax(dim=1, keepdim=True), high.mean(dim=1, keepdim=True)], dim=1)
        positions = on_grid(self.positions, peaks).sigmoid()
        return self.project_out(positions * low + pool(self.channel_weights, low) * high)

    def channel_weights(self, low: Tensor) -> Tensor:
        """Return weights (B, C, 1, 1) from the mean and the maximum of each channel."""
        mean, peak = low.mean(dim=(-2, -1), keepdim=True), low.amax(dim=(-2, -1), keepdim=True)
        return (self.channels(mean) + self.channels(peak)).sigmoid()
