"""Rewriting of networks into an equal form that runs faster on the CPU.

Graph compilers transpose maps for a layer norm over channels, and copy both halves where channels
are cut in two: of NAFNet-64 in OpenVINO that took a quarter of the time. PyTorch reads and writes
each map once more to scale it: of `tiny-asked` that took 8 % of the time.
"""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from maskdcpt_cli.models.layers import ChannelNorm
from maskdcpt_cli.models.masking import OnGrid
from maskdcpt_cli.models.nafnet import NAFBlock, simple_gate
from maskdcpt_cli.models.pooling import GlobalPool

Network = TypeVar("Network", bound=nn.Module)


class SpelledOutNorm(nn.Module):
    """ChannelNorm by its formula, which needs no transposition.

    For fp32 only: with mean and variance stored in bf16 some photos came to 31 dB of fp32, where
    ChannelNorm itself keeps them above 53 dB.
    """

    def __init__(self, norm: ChannelNorm) -> None:
        super().__init__()
        self.weight = nn.Parameter(norm.weight[:, None, None])
        self.bias = nn.Parameter(norm.bias[:, None, None])
        self.eps = norm.eps

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=1, keepdim=True)
        variance = (centred * centred).mean(dim=1, keepdim=True)
        return centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias


class SplitNAFBlock(nn.Module):
    """NAFBlock whose gates have two convolutions each instead of the halves of one."""

    def __init__(self, block: NAFBlock) -> None:
        super().__init__()
        self.norm1, self.sca, self.conv3 = block.norm1, block.sca, block.conv3
        self.norm2, self.conv5 = block.norm2, block.conv5
        self.conv1a, self.conv1b = _halves(block.conv1)
        self.conv2a, self.conv2b = _halves(block.conv2)
        self.conv4a, self.conv4b = _halves(block.conv4)
        self.beta, self.gamma = block.beta, block.gamma

    def forward(self, x: Tensor, _on_grid: OnGrid, pool: GlobalPool) -> Tensor:
        y = self.norm1(x)
        y = self.conv2a(self.conv1a(y)) * self.conv2b(self.conv1b(y))
        x = x + self.beta * self.conv3(y * pool(self.sca, y))
        y = self.norm2(x)
        y = self.conv5(self.conv4a(y) * self.conv4b(y))
        return x + self.gamma * y


class FoldedNAFBlock(nn.Module):
    """NAFBlock whose `beta` and `gamma` are part of the weights; sums overwrite a term."""

    def __init__(self, block: NAFBlock) -> None:
        super().__init__()
        self.norm1, self.conv1, self.conv2 = block.norm1, block.conv1, block.conv2
        self.sca, self.conv3 = block.sca, _scaled(block.conv3, block.beta)
        self.norm2, self.conv4 = block.norm2, block.conv4
        self.conv5 = _scaled(block.conv5, block.gamma)

    def forward(self, x: Tensor, _on_grid: OnGrid, pool: GlobalPool) -> Tensor:
        y = simple_gate(self.conv2(self.conv1(self.norm1(x))))
        x = self.conv3(y * pool(self.sca, y)).add_(x)
        return self.conv5(simple_gate(self.conv4(self.norm2(x)))).add_(x)


def fold_scales(network: Network) -> Network:
    """Make the scales of residuals within `network` part of the weights before them, in place."""
    return replace_modules(network, NAFBlock, FoldedNAFBlock)


def split_gates(network: Network) -> Network:
    """Split the convolutions before the gates within `network` in two, in place."""
    return replace_modules(network, NAFBlock, SplitNAFBlock)


def spell_out_norms(network: Network) -> Network:
    """Replace the layer norms within `network` by their formula, in place."""
    return replace_modules(network, ChannelNorm, SpelledOutNorm)


def replace_modules(
    network: Network, old: type[nn.Module], new: Callable[[Any], nn.Module]
) -> Network:
    """Replace the modules of one type within `network` by others built from them, in place.

    Those of a subclass, which may do something else, stay.
    """
    for name, child in network.named_children():
        module = new(child) if type(child) is old else replace_modules(child, old, new)
        setattr(network, name, module)
    return network


def _halves(conv: nn.Conv2d) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Two convolutions that give the first and the second half of the channels of one."""
    assert conv.bias is not None
    first, second = copy.deepcopy(conv), copy.deepcopy(conv)
    for half, weight, bias in zip(
        (first, second), conv.weight.chunk(2), conv.bias.chunk(2), strict=True
    ):
        half.weight, half.bias = nn.Parameter(weight), nn.Parameter(bias)
        half.groups = max(conv.groups // 2, 1)  # a depth-wise one stays depth-wise
    return first, second


def _scaled(conv: nn.Conv2d, scale: Tensor) -> nn.Conv2d:
    """Return a convolution whose result is that of `conv` times the scale (1, C, 1, 1)."""
    assert conv.bias is not None
    scaled = copy.deepcopy(conv)
    scaled.weight = nn.Parameter(conv.weight * scale.view(-1, 1, 1, 1))
    scaled.bias = nn.Parameter(conv.bias * scale.flatten())
    return scaled
