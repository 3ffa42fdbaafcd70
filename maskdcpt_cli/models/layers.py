"""Layers that two or more backbones share."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskdcpt_cli.models.masking import OnGrid, apply
from maskdcpt_cli.models.options import check_heads
from maskdcpt_cli.models.pooling import GlobalPool, whole_image

NORM_EPS = 1e-5  # added to a variance

Module = TypeVar("Module", bound=nn.Module)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each position of (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class BiasFreeNorm(nn.Module):
    """Division by the standard deviation over the channels of each position of (B, C, H, W).

    Restormer's norm for denoising: the variance is about the mean, which is not subtracted.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        exact = x.float()  # as layer_norm computes; squares exceed the range of fp16
        centred = exact - exact.mean(dim=1, keepdim=True)
        variance = centred.square().mean(dim=1, keepdim=True)
        scaled = exact * (variance + NORM_EPS).rsqrt() * self.weight[:, None, None]
        return scaled.to(x.dtype)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "with-bias": ChannelNorm,
    "bias-free": BiasFreeNorm,
}


class BlockSequence(nn.Module):
    """A sequence of blocks at one resolution; `context` is passed to each beside the map."""

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, *context: OnGrid | GlobalPool | Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, *context)
        return x


class AcrossChannels(nn.Module):
    """The weights of attention across channels: its cost is linear in the positions."""

    def __init__(self, dim: int, *, heads: int) -> None:
        super().__init__()
        check_heads(dim, heads)
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))

    def attention(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the channel weights (B, heads, C / heads, C / heads) of two maps (B, C, H, W)."""
        q, k = F.normalize(self.split(q), dim=-1), F.normalize(self.split(k), dim=-1)
        return (q @ k.transpose(-2, -1) * self.temperature).softmax(dim=-1)

    def split(self, x: Tensor) -> Tensor:
        """Split (B, C, H, W) into heads: (B, heads, C / heads, positions)."""
        return x.reshape(x.shape[0], self.heads, x.shape[1] // self.heads, -1)


class ChannelAttention(AcrossChannels):
    """Attention across channels, MDTA (Restormer, Sec. 3.1)."""

    def __init__(self, dim: int, *, heads: int, bias: bool) -> None:
        super().__init__(dim, heads=heads)
        self.qkv = nn.Conv2d(dim, 3 * dim, 1, bias=bias)
        self.qkv_dwconv = nn.Conv2d(3 * dim, 3 * dim, 3, padding=1, groups=3 * dim, bias=bias)
        self.project_out = nn.Conv2d(dim, dim, 1, bias=bias)

    def forward(self, x: Tensor, on_grid: OnGrid = apply, pool: GlobalPool = whole_image) -> Tensor:
        q, k, v = on_grid(self.qkv_dwconv, self.qkv(x)).chunk(3, dim=1)
        attended = pool(self.attention, q, k) @ self.split(v)
        return self.project_out(attended.reshape(x.shape))


class ChannelCrossAttention(AcrossChannels):
    """Attention across channels with queries from one map, keys and values from another.

    `kernel_size` is that of the depth-wise convolution of keys and values.
    """

    def __init__(self, dim: int, *, heads: int, bias: bool, kernel_size: int = 3) -> None:
        super().__init__(dim, heads=heads)
        self.q = nn.Conv2d(dim, dim, 1, bias=bias)
        self.q_dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=bias)
        self.kv = nn.Conv2d(dim, 2 * dim, 1, bias=bias)
        self.kv_dwconv = nn.Conv2d(
            2 * dim, 2 * dim, kernel_size, padding=kernel_size // 2, groups=2 * dim, bias=bias
        )
        self.project_out = nn.Conv2d(dim, dim, 1, bias=bias)

    def forward(self, x: Tensor, y: Tensor, on_grid: OnGrid, pool: GlobalPool) -> Tensor:
        q = on_grid(self.q_dwconv, self.q(x))
        k, v = on_grid(self.kv_dwconv, self.kv(y)).chunk(2, dim=1)
        attended = pool(self.attention, q, k) @ self.split(v)
        return self.project_out(attended.reshape(x.shape))


class GatedFeedForward(nn.Module):
    """A gated feed-forward network, GDFN (Restormer, Sec. 3.2)."""

    def __init__(self, dim: int, *, expansion: float, bias: bool) -> None:
        super().__init__()
        hidden = int(dim * expansion)
        self.project_in = nn.Conv2d(dim, 2 * hidden, 1, bias=bias)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias)
        self.project_out = nn.Conv2d(hidden, dim, 1, bias=bias)

    def forward(self, x: Tensor, on_grid: OnGrid = apply) -> Tensor:
        gate, value = on_grid(self.dwconv, self.project_in(x)).chunk(2, dim=1)
        return self.project_out(F.gelu(gate) * value)


class TransformerBlock(nn.Module):
    """Restormer's block: channel attention, then a gated feed-forward."""

    def __init__(
        self, dim: int, *, heads: int, expansion: float, bias: bool, norm: str = "with-bias"
    ) -> None:
        super().__init__()
        self.norm1 = NORMS[norm](dim)
        self.attn = ChannelAttention(dim, heads=heads, bias=bias)
        self.norm2 = NORMS[norm](dim)
        self.ffn = GatedFeedForward(dim, expansion=expansion, bias=bias)

    def forward(self, x: Tensor, on_grid: OnGrid = apply, pool: GlobalPool = whole_image) -> Tensor:
        x = x + self.attn(self.norm1(x), on_grid, pool)
        return x + self.ffn(self.norm2(x), on_grid)


class PatchEmbed(nn.Module):
    """The first convolution of Restormer and PromptIR."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class Downsample(nn.Module):
    """A layer that halves the resolution and doubles the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim // 2, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_unshuffle(self.conv(x), 2)


class Upsample(nn.Module):
    """A layer that doubles the resolution and halves the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, 2 * dim, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)


def lay_out(model: Module, layout: torch.memory_format) -> Module:
    """Return `model` with its 4-D weights in a layout (`.to` refuses a network with 5-D ones)."""
    for weight in model.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=layout)
    return model
