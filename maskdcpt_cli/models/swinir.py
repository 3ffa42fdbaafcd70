"""SwinIR (Liang et al., 2021), as MaskDCPT releases it.

Neither a relative-position bias nor a mask for shifted windows, which Liang et al. have
(`attention` swin); the residual groups are split into a first half, `encode_layers`, and a second,
`decode_layers0` and on.
"""

from collections.abc import Sequence
from itertools import count, takewhile
from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskdcpt_cli.models.backbone import Backbone, Encoded
from maskdcpt_cli.models.layers import BlockSequence, ChannelNorm
from maskdcpt_cli.models.masking import OnGrid, apply
from maskdcpt_cli.models.options import (
    check_heads,
    choice,
    expansion,
    whole_number,
    whole_numbers,
)
from maskdcpt_cli.models.pooling import GlobalPool, whole_image
from maskdcpt_cli.models.shapes import Shapes, count_children, expansion_of, size_of

MAX_WINDOW = 256  # pixels
BIAS_TABLE = "relative_position_bias_table"  # of a layer of attention, in a state dict
FORBIDDEN = -100.0  # added to logits, as released
RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of the photographs of DIV2K


class WindowAttention(nn.Module):
    """Self-attention within the windows of a grid, cyclically shifted."""

    def __init__(self, dim: int, *, heads: int, window_size: int, shift: int) -> None:
        super().__init__()
        check_heads(dim, heads)
        self.heads = heads
        self.window_size = window_size
        self.shift = shift
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        size, heads = self.window_size, self.heads
        rows, columns = height // size, width // size
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(-2, -1))
        # (B, C, H, W) -> (windows, positions, C) -> three of (windows, heads, positions, C / heads)
        windows = x.reshape(batch, channels, rows, size, columns, size).permute(0, 2, 4, 3, 5, 1)
        qkv = self.qkv(windows.reshape(-1, size * size, channels))
        q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        mask = self.mask(batch, rows, columns)
        attended = F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2)
        y = self.proj(attended).reshape(batch, rows, columns, size, size, channels)
        y = y.permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, height, width)
        return y.roll((self.shift, self.shift), dims=(-2, -1)) if self.shift else y

    def mask(self, batch: int, rows: int, columns: int) -> Tensor | None:  # noqa: ARG002
        """Return what is added to the logits (batch * rows * columns, heads, positions, positions).

        None adds nothing; the first dimension may be left out where it makes no difference.
        """
        return None


class SwinAttention(WindowAttention):
    """Attention within windows by relative position, and not across the edges of the grid.

    As in the Swin Transformer (Liu et al., 2021, Sec. 3.2): a bias for each head and offset
    (Eq. 4), and a mask between parts of a shifted window that come from opposite edges.
    """

    offset: Tensor

    def __init__(self, dim: int, *, heads: int, window_size: int, shift: int) -> None:
        super().__init__(dim, heads=heads, window_size=window_size, shift=shift)
        span = 2 * window_size - 1  # offsets along an axis
        self.relative_position_bias_table = nn.Parameter(torch.zeros(span**2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        at = torch.arange(window_size)
        apart = at[:, None] - at + window_size - 1
        offset = apart[:, None, :, None] * span + apart[:, None, :]
        self.register_buffer("offset", offset.flatten(2).flatten(0, 1), persistent=False)

    def mask(self, batch: int, rows: int, columns: int) -> Tensor:
        bias = self.relative_position_bias_table[self.offset].permute(2, 0, 1)
        if not self.shift:
            return bias
        down, across = self.wrapped(rows), self.wrapped(columns)
        parts = 2 * down[:, None, :, None] + across[:, None, :]
        parts = parts.reshape(rows * columns, -1)
        forbidden = (parts[:, :, None] != parts[:, None]).to(bias.dtype)
        mask = bias + FORBIDDEN * forbidden[:, None]
        return mask.expand(batch, *mask.shape).flatten(0, 1)

    def wrapped(self, windows: int) -> Tensor:
        """Return (windows, window_size) along an axis: 1 at positions from the other edge."""
        device = self.offset.device
        last = torch.arange(windows, device=device) == windows - 1
        beyond = torch.arange(self.window_size, device=device) >= self.window_size - self.shift
        return (last[:, None] & beyond).long()


ATTENTIONS = {"plain": WindowAttention, "swin": SwinAttention}


class MLP(nn.Module):
    """A feed-forward network of two linear layers, at each position of (B, C, H, W)."""

    def __init__(self, dim: int, *, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc2(F.gelu(self.fc1(x.permute(0, 2, 3, 1))))
        return y.permute(0, 3, 1, 2)


class SwinBlock(nn.Module):
    """A Swin transformer block: window attention, then a feed-forward network."""

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        window_size: int,
        shift: int,
        mlp_ratio: float,
        attention: str,
    ) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(dim)
        self.attn = ATTENTIONS[attention](dim, heads=heads, window_size=window_size, shift=shift)
        self.norm2 = ChannelNorm(dim)
        self.mlp = MLP(dim, hidden=int(dim * mlp_ratio))

    def forward(self, x: Tensor, on_grid: OnGrid = apply) -> Tensor:
        x = x + on_grid(self.attn, self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ResidualGroup(nn.Module):
    """Swin blocks, every second one shifted by half a window, closed by a convolution (RSTB)."""

    def __init__(
        self,
        dim: int,
        *,
        depth: int,
        heads: int,
        window_size: int,
        mlp_ratio: float,
        attention: str,
    ) -> None:
        super().__init__()
        self.residual_group = BlockSequence(
            SwinBlock(
                dim,
                heads=heads,
                window_size=window_size,
                shift=i % 2 * (window_size // 2),
                mlp_ratio=mlp_ratio,
                attention=attention,
            )
            for i in range(depth)
        )
        self.conv = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor, on_grid: OnGrid = apply) -> Tensor:
        return x + on_grid(self.conv, self.residual_group(x, on_grid))


class TokenNorm(nn.Module):
    """The normalisation of the first tokens; a patch is one position."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


class SwinIR(Backbone):
    """Residual groups of shifted-window attention at one resolution."""

    mean: Tensor
    options = ("embed_dim", "depths", "num_heads", "mlp_ratio", "window_size", "attention")
    telltale = "conv_first.weight"
    assumed_options = ("num_heads", "window_size", "mlp_ratio")
    hidden_options = ("num_heads", "window_size")
    beyond_features = ("norm", "conv_after_body", "conv_last")

    def __init__(
        self,
        *,
        embed_dim: int = 180,
        depths: Sequence[int] = (6, 6, 6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6, 6, 6),
        mlp_ratio: float = 2.0,
        window_size: int = 8,
        attention: str = "plain",
    ) -> None:
        super().__init__()
        self.embed_dim = whole_number("embed_dim", embed_dim)
        self.depths = whole_numbers("depths", depths, least=0)
        self.num_heads = whole_numbers("num_heads", num_heads, count=len(depths))
        self.mlp_ratio = expansion("mlp_ratio", mlp_ratio, channels=embed_dim)
        self.window_size = whole_number("window_size", window_size, most=MAX_WINDOW)
        self.attention = choice("attention", attention, ATTENTIONS)
        self.size_multiple = window_size

        groups = [
            ResidualGroup(
                embed_dim,
                depth=depth,
                heads=heads,
                window_size=window_size,
                mlp_ratio=mlp_ratio,
                attention=attention,
            )
            for depth, heads in zip(depths, num_heads, strict=True)
        ]
        half = len(groups) // 2
        self.feature_dims = (embed_dim,) * (len(groups) - half)
        self.feature_scales = (1,) * (len(groups) - half)
        mean = torch.tensor(RGB_MEAN).view(1, 3, 1, 1)
        self.register_buffer("mean", mean, persistent=False)
        self.conv_first = nn.Conv2d(3, embed_dim, 3, padding=1)
        self.patch_embed = TokenNorm(embed_dim)
        self.encode_layers = nn.ModuleList(groups[:half])
        for i, group in enumerate(groups[half:]):
            self.add_module(f"decode_layers{i}", group)
        self.norm = ChannelNorm(embed_dim)
        self.conv_after_body = nn.Conv2d(embed_dim, embed_dim, 3, padding=1)
        self.conv_last = nn.Conv2d(embed_dim, 3, 3, padding=1)

    @classmethod
    def options_from(cls, shapes: Shapes) -> dict[str, object]:
        """Return the options; those of plain attention, which has no such tensor, are assumed.

        Heads of 30 channels and the released window.
        """
        groups = [f"encode_layers.{i}" for i in range(count_children(shapes, "encode_layers."))]
        later = (f"decode_layers{i}" for i in count())
        groups += takewhile(lambda group: f"{group}.conv.weight" in shapes, later)
        embed_dim = size_of(shapes, "conv_first.weight", 0)
        depths = tuple(
            count_children(shapes, f"{group}.residual_group.blocks.") for group in groups
        )
        tables = [f"{group}.residual_group.blocks.0.attn.{BIAS_TABLE}" for group in groups]
        known = [table for table in tables if table in shapes]
        heads = (
            size_of(shapes, table, 1) if table in known else max(embed_dim // 30, 1)
            for table in tables
        )
        return {
            "embed_dim": embed_dim,
            "depths": depths,
            "num_heads": tuple(heads),
            "mlp_ratio": expansion_of(
                (size_of(shapes, name, 1), size_of(shapes, name, 0))
                for name in shapes
                if name.endswith(".mlp.fc1.weight")
            ),
            "window_size": (isqrt(size_of(shapes, known[0], 0)) + 1) // 2 if known else 8,
            "attention": "swin" if known else "plain",
        }

    @property
    def decode_layers(self) -> list[nn.Module]:
        count = len(self.depths) - len(self.encode_layers)
        return [self.get_submodule(f"decode_layers{i}") for i in range(count)]

    def encode(
        self,
        lq: Tensor,
        on_grid: OnGrid = apply,
        pool: GlobalPool = whole_image,  # noqa: ARG002  attention within windows pools nothing
        request: Tensor | None = None,
    ) -> Encoded:
        self.instruction(request)
        shallow = on_grid(self.conv_first, lq - self.mean)
        x = self.patch_embed(shallow)
        for group in self.encode_layers:
            x = group(x, on_grid)
        features = []
        for group in self.decode_layers:
            x = group(x, on_grid)
            features.append(x)
        latent = shallow + on_grid(self.conv_after_body, self.norm(x))
        return Encoded(latent=latent, features=tuple(features))

    def head(self, latent: Tensor) -> Tensor:
        return self.conv_last(latent)
