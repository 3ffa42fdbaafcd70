"""NAFNet (Chen et al., Simple Baselines for Image Restoration, 2022), as MaskDCPT releases it."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskdcpt_cli.models.backbone import PADDINGS, Backbone, Encoded
from maskdcpt_cli.models.instruct import (
    InstructedStage,
    InstructionBlock,
    RequestEmbedding,
    request_types_in,
)
from maskdcpt_cli.models.layers import BlockSequence, ChannelNorm
from maskdcpt_cli.models.masking import OnGrid, apply
from maskdcpt_cli.models.options import (
    MAX_BLOCKS,
    MAX_CHANNELS,
    check_request_types,
    choice,
    number,
    whole_number,
    whole_numbers,
)
from maskdcpt_cli.models.pooling import GlobalPool, whole_image
from maskdcpt_cli.models.shapes import Shapes, count_children, size_of

MAX_UNSHUFFLE = 16
MIN_EPS, MAX_EPS = 1e-12, 1e-2  # of the variance in layer normalisation


def simple_gate(x: Tensor) -> Tensor:
    """Return the product of both halves of the channels: (B, 2 C, H, W) to (B, C, H, W)."""
    gate, value = x.chunk(2, dim=1)
    return gate * value


class NAFBlock(nn.Module):
    """Depth-wise convolution, gates instead of activations, simplified channel attention."""

    def __init__(self, channels: int, *, eps: float) -> None:
        super().__init__()
        wide = 2 * channels
        self.norm1 = ChannelNorm(channels, eps=eps)
        self.conv1 = nn.Conv2d(channels, wide, 1)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1))
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.norm2 = ChannelNorm(channels, eps=eps)
        self.conv4 = nn.Conv2d(channels, wide, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor, on_grid: OnGrid = apply, pool: GlobalPool = whole_image) -> Tensor:
        y = simple_gate(on_grid(self.conv2, self.conv1(self.norm1(x))))
        x = x + self.beta * self.conv3(y * pool(self.sca, y))
        return x + self.gamma * self.conv5(simple_gate(self.conv4(self.norm2(x))))


class NAFNet(Backbone):
    """A U-shaped net of NAFBlocks: each encoder stage halves the resolution, each decoder doubles.

    `unshuffle` 2 makes the whole network work at half resolution (ours; 1 is as published): the
    first convolution reads pixel_unshuffle(lq, 2), the residual goes through pixel_shuffle.
    `padding` zeros and `norm_eps` 1e-6 make the network that Chen et al. released.
    """

    options = (
        "width",
        "enc_blk_nums",
        "middle_blk_num",
        "dec_blk_nums",
        "unshuffle",
        "architecture",
        "request_types",
        "padding",
        "norm_eps",
    )
    hidden_options = ("padding", "norm_eps")
    architectures = ("plain", "instruct")
    telltale = "intro.weight"
    beyond_features = ("ending",)

    def __init__(
        self,
        *,
        width: int = 64,
        enc_blk_nums: Sequence[int] = (1, 1, 1, 28),
        middle_blk_num: int = 1,
        dec_blk_nums: Sequence[int] = (1, 1, 1, 1),
        unshuffle: int = 1,
        architecture: str = "plain",
        request_types: int = 0,
        padding: str = "reflect",
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.width = whole_number("width", width)
        self.enc_blk_nums = whole_numbers("enc_blk_nums", enc_blk_nums, least=0)
        self.middle_blk_num = whole_number(
            "middle_blk_num", middle_blk_num, least=0, most=MAX_BLOCKS
        )
        self.dec_blk_nums = whole_numbers("dec_blk_nums", dec_blk_nums, least=0)
        self.unshuffle = whole_number("unshuffle", unshuffle, most=MAX_UNSHUFFLE)
        stages = len(enc_blk_nums)
        if len(dec_blk_nums) != stages:
            raise ValueError(
                f"NAFNet needs as many decoder as encoder stages, but enc_blk_nums has "
                f"{stages} and dec_blk_nums {len(dec_blk_nums)}."
            )
        if width * 2**stages > MAX_CHANNELS * 2**4:
            raise ValueError(
                f"A width of {width} gives {width * 2**stages} channels in the middle of {stages} "
                f"stages; valid are up to {MAX_CHANNELS * 2**4}."
            )
        self.architecture = choice("architecture", architecture, self.architectures)
        self.request_types = check_request_types(request_types, architecture=architecture)
        self.padding = choice("padding", padding, PADDINGS)
        self.norm_eps = number("norm_eps", norm_eps, least=MIN_EPS, most=MAX_EPS)
        self.size_multiple = unshuffle * 2 ** len(enc_blk_nums)

        rgb = 3 * unshuffle**2
        channels = [width * 2**level for level in range(len(enc_blk_nums) + 1)]
        self.feature_dims = tuple(channels[-2::-1])
        self.feature_scales = tuple(c // width * unshuffle for c in channels[-2::-1])
        if request_types:
            self.request_embedding = RequestEmbedding(request_types)
        self.intro = nn.Conv2d(rgb, width, 3, padding=1)
        self.encoders = nn.ModuleList(
            self.stage(c, n) for c, n in zip(channels, enc_blk_nums, strict=False)
        )
        self.downs = nn.ModuleList(nn.Conv2d(c, 2 * c, 2, stride=2) for c in channels[:-1])
        self.middle_blks = BlockSequence(self.block(channels[-1]) for _ in range(middle_blk_num))
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, 2 * c, 1, bias=False), nn.PixelShuffle(2))
            for c in channels[:0:-1]
        )
        for i, n in enumerate(dec_blk_nums):
            self.add_module(f"decoder{i}", self.stage(channels[-2 - i], n))
        self.ending = nn.Conv2d(width, rgb, 3, padding=1)

    @classmethod
    def options_from(cls, shapes: Shapes) -> dict[str, object]:
        stages = range(count_children(shapes, "downs."))
        return {
            "width": size_of(shapes, "intro.weight", 0),
            "enc_blk_nums": tuple(count_children(shapes, f"encoders.{i}.blocks.") for i in stages),
            "middle_blk_num": count_children(shapes, "middle_blks.blocks."),
            "dec_blk_nums": tuple(count_children(shapes, f"decoder{i}.blocks.") for i in stages),
            "unshuffle": math.isqrt(size_of(shapes, "intro.weight", 1) // 3),
            "architecture": "instruct" if request_types_in(shapes) else "plain",
            "request_types": request_types_in(shapes),
        }

    def block(self, channels: int) -> NAFBlock:
        return NAFBlock(channels, eps=self.norm_eps)

    def stage(self, channels: int, blocks: int) -> BlockSequence:
        sequence = (self.block(channels) for _ in range(blocks))
        if self.architecture == "instruct":
            block = InstructionBlock(self.block(channels), channels=channels)
            return InstructedStage(sequence, instructed=block)
        return BlockSequence(sequence)

    @property
    def decoders(self) -> list[nn.Module]:
        return [self.get_submodule(f"decoder{i}") for i in range(len(self.dec_blk_nums))]

    def encode(
        self,
        lq: Tensor,
        on_grid: OnGrid = apply,
        pool: GlobalPool = whole_image,
        request: Tensor | None = None,
    ) -> Encoded:
        context = (on_grid, pool, *self.instruction(request))
        x = on_grid(lambda grid: self.intro(F.pixel_unshuffle(grid, self.unshuffle)), lq)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            skips.append(encoder(x, *context))
            x = on_grid(down, skips[-1])
        x = self.middle_blks(x, on_grid, pool)
        features = []
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            x = decoder(on_grid(up, x) + skips.pop(), *context)
            features.append(x)
        return Encoded(latent=x, features=tuple(features))

    def head(self, latent: Tensor) -> Tensor:
        return F.pixel_shuffle(self.ending(latent), self.unshuffle)
