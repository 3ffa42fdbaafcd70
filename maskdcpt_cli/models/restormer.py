"""Restormer (Zamir et al., 2022), as MaskDCPT releases it: its layer norms have a bias."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from maskdcpt_cli.models.backbone import Backbone, Encoded
from maskdcpt_cli.models.layers import (
    BlockSequence,
    Downsample,
    PatchEmbed,
    TransformerBlock,
    Upsample,
)
from maskdcpt_cli.models.masking import OnGrid, apply
from maskdcpt_cli.models.options import MAX_BLOCKS, expansion, whole_number, whole_numbers
from maskdcpt_cli.models.pooling import GlobalPool, whole_image
from maskdcpt_cli.models.shapes import Shapes, count_children, expansion_of, size_of


class Restormer(Backbone):
    """A U-shaped transformer whose attention runs across channels."""

    options = ("dim", "num_blocks", "num_refinement_blocks", "heads", "ffn_expansion_factor")
    telltale = "patch_embed.proj.weight"
    assumed_options = ("ffn_expansion_factor",)
    beyond_features = ("output",)
    bias: ClassVar[bool] = False

    def __init__(
        self,
        *,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        num_refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = 2.66,
    ) -> None:
        super().__init__()
        self.dim = whole_number("dim", dim, least=2)
        if dim % 2:
            raise ValueError(f"dim is {dim}; valid are even numbers, as downsampling halves it.")
        self.num_blocks = whole_numbers("num_blocks", num_blocks, count=4, least=0)
        self.num_refinement_blocks = whole_number(
            "num_refinement_blocks", num_refinement_blocks, least=0, most=MAX_BLOCKS
        )
        self.heads = whole_numbers("heads", heads, count=4)
        self.ffn_expansion_factor = expansion(
            "ffn_expansion_factor", ffn_expansion_factor, channels=dim
        )
        self.size_multiple = 8
        self.feature_dims = (4 * dim, 2 * dim, 2 * dim, 2 * dim)
        self.feature_scales = (4, 2, 1, 1)

        self.patch_embed = PatchEmbed(dim)
        self.encoder_level1 = self.stage(dim, 0, num_blocks[0])
        self.down1_2 = Downsample(dim)
        self.encoder_level2 = self.stage(2 * dim, 1, num_blocks[1])
        self.down2_3 = Downsample(2 * dim)
        self.encoder_level3 = self.stage(4 * dim, 2, num_blocks[2])
        self.down3_4 = Downsample(4 * dim)
        self.latent = self.stage(8 * dim, 3, num_blocks[3])

        prompted_dim = self.add_prompt(3, 8 * dim)
        self.up4_3 = Upsample(prompted_dim)
        self.reduce_chan_level3 = self.pointwise(prompted_dim // 2 + 4 * dim, 4 * dim)
        self.decoder_level3 = self.stage(4 * dim, 2, num_blocks[2])
        prompted_dim = self.add_prompt(2, 4 * dim)
        self.up3_2 = Upsample(prompted_dim)
        self.reduce_chan_level2 = self.pointwise(prompted_dim // 2 + 2 * dim, 2 * dim)
        self.decoder_level2 = self.stage(2 * dim, 1, num_blocks[1])
        self.up2_1 = Upsample(self.add_prompt(1, 2 * dim))
        self.decoder_level1 = self.stage(2 * dim, 0, num_blocks[0])
        self.refinement = self.stage(2 * dim, 0, num_refinement_blocks)
        self.output = nn.Conv2d(2 * dim, 3, 3, padding=1, bias=self.bias)

    @classmethod
    def options_from(cls, shapes: Shapes) -> dict[str, object]:
        levels = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")
        return {
            "dim": size_of(shapes, "patch_embed.proj.weight", 0),
            "num_blocks": tuple(count_children(shapes, f"{level}.blocks.") for level in levels),
            "num_refinement_blocks": count_children(shapes, "refinement.blocks."),
            "heads": tuple(
                size_of(shapes, f"{level}.blocks.0.attn.temperature", 0) for level in levels
            ),
            "ffn_expansion_factor": expansion_of(
                (size_of(shapes, name, 1), size_of(shapes, name, 0) // 2)
                for name in shapes
                if name.endswith(".ffn.project_in.weight")
            ),
        }

    def block(self, dim: int, level: int) -> TransformerBlock:
        return TransformerBlock(
            dim, heads=self.heads[level], expansion=self.ffn_expansion_factor, bias=self.bias
        )

    def stage(self, dim: int, level: int, blocks: int) -> BlockSequence:
        return BlockSequence(self.block(dim, level) for _ in range(blocks))

    def pointwise(self, dim_in: int, dim_out: int) -> nn.Conv2d:
        return nn.Conv2d(dim_in, dim_out, 1, bias=self.bias)

    def add_prompt(self, _level: int, dim: int) -> int:
        """Add the prompt of a level to features of `dim` channels; none here.

        Return their number of channels after it.
        """
        return dim

    def prompted(self, x: Tensor, _level: int, _on_grid: OnGrid, _pool: GlobalPool) -> Tensor:
        """Return the features x of a level with its prompt, ready for upsampling."""
        return x

    def encode(
        self, lq: Tensor, on_grid: OnGrid = apply, pool: GlobalPool = whole_image
    ) -> Encoded:
        level1 = self.encoder_level1(on_grid(self.patch_embed, lq), on_grid, pool)
        level2 = self.encoder_level2(on_grid(self.down1_2, level1), on_grid, pool)
        level3 = self.encoder_level3(on_grid(self.down2_3, level2), on_grid, pool)
        x = self.latent(on_grid(self.down3_4, level3), on_grid, pool)

        x = torch.cat([on_grid(self.up4_3, self.prompted(x, 3, on_grid, pool)), level3], dim=1)
        decoded3 = self.decoder_level3(self.reduce_chan_level3(x), on_grid, pool)
        x = torch.cat(
            [on_grid(self.up3_2, self.prompted(decoded3, 2, on_grid, pool)), level2], dim=1
        )
        decoded2 = self.decoder_level2(self.reduce_chan_level2(x), on_grid, pool)
        x = torch.cat(
            [on_grid(self.up2_1, self.prompted(decoded2, 1, on_grid, pool)), level1], dim=1
        )
        decoded1 = self.decoder_level1(x, on_grid, pool)
        refined = self.refinement(decoded1, on_grid, pool)
        return Encoded(latent=refined, features=(decoded3, decoded2, decoded1, refined))

    def head(self, latent: Tensor) -> Tensor:
        return self.output(latent)
