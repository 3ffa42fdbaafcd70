"""Restormer (Zamir et al., 2022), as MaskDCPT releases it: its layer norms have a bias.

Zamir et al. also released denoising networks whose norms have none: `norm` bias-free.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from maskdcpt_cli.models.backbone import Backbone, Encoded
from maskdcpt_cli.models.frequency import FrequencyBlock
from maskdcpt_cli.models.instruct import (
    TYPES_KEY,
    InstructedStage,
    InstructionBlock,
    RequestEmbedding,
    request_types_in,
)
from maskdcpt_cli.models.layers import (
    NORMS,
    BlockSequence,
    Downsample,
    PatchEmbed,
    TransformerBlock,
    Upsample,
)
from maskdcpt_cli.models.masking import OnGrid, apply
from maskdcpt_cli.models.moe import (
    DegradationEmbedding,
    MoETransformerBlock,
    blocks_of_decoder,
    take_load_loss,
)
from maskdcpt_cli.models.options import (
    ARCHITECTURES,
    MAX_BLOCKS,
    check_request_types,
    choice,
    expansion,
    switch,
    whole_number,
    whole_numbers,
)
from maskdcpt_cli.models.pooling import GlobalPool, whole_image
from maskdcpt_cli.models.shapes import Shapes, count_children, expansion_of, size_of

SIZES = ("dim", "num_blocks", "num_refinement_blocks", "heads", "ffn_expansion_factor")
TELLTALES = {  # of the architectures but `plain`
    "instruct": TYPES_KEY,
    "frequency": "frequency3.beta",
    "moe": "degradation_embedding.layers.0.weight",
}


class Restormer(Backbone):
    """A U-shaped transformer whose attention runs across channels.

    `architecture` is one of Table XI: `instruct` closes each stage by an instruction block, but
    for the middle and the refinement; `frequency` has a frequency block before each upsampling;
    `moe` has experts in the decoder.
    """

    options: ClassVar[tuple[str, ...]] = (*SIZES, "architecture", "request_types", "norm")
    architectures: ClassVar[tuple[str, ...]] = ARCHITECTURES
    telltale = "patch_embed.proj.weight"
    assumed_options = ("ffn_expansion_factor",)
    beyond_features = ("output",)

    def __init__(
        self,
        *,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        num_refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = 2.66,
        architecture: str = "plain",
        request_types: int = 0,
        norm: str = "with-bias",
        bias: bool = False,
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
        self.architecture = choice("architecture", architecture, self.architectures)
        self.request_types = check_request_types(request_types, architecture=architecture)
        self.norm = choice("norm", norm, NORMS)
        self.bias = switch("bias", bias)
        self.size_multiple = 8
        self.feature_dims = (4 * dim, 2 * dim, 2 * dim, 2 * dim)
        self.feature_scales = (4, 2, 1, 1)

        if request_types:
            self.request_embedding = RequestEmbedding(request_types)
        self.patch_embed = PatchEmbed(dim)
        self.encoder_level1 = self.encoder_stage(dim, 0)
        self.down1_2 = Downsample(dim)
        self.encoder_level2 = self.encoder_stage(2 * dim, 1)
        self.down2_3 = Downsample(2 * dim)
        self.encoder_level3 = self.encoder_stage(4 * dim, 2)
        self.down3_4 = Downsample(4 * dim)
        self.latent = self.stage(8 * dim, 3, num_blocks[3])
        self.degradation_embedding = (
            DegradationEmbedding(8 * dim) if architecture == "moe" else None
        )

        guided_dim = self.add_guidance(3, 8 * dim)
        self.up4_3 = Upsample(guided_dim)
        self.reduce_chan_level3 = self.pointwise(guided_dim // 2 + 4 * dim, 4 * dim)
        self.decoder_level3 = self.decoder_stage(4 * dim, 2)
        guided_dim = self.add_guidance(2, 4 * dim)
        self.up3_2 = Upsample(guided_dim)
        self.reduce_chan_level2 = self.pointwise(guided_dim // 2 + 2 * dim, 2 * dim)
        self.decoder_level2 = self.decoder_stage(2 * dim, 1)
        self.up2_1 = Upsample(self.add_guidance(1, 2 * dim))
        self.decoder_level1 = self.decoder_stage(2 * dim, 0)
        self.refinement = self.stage(2 * dim, 0, num_refinement_blocks)
        self.output = nn.Conv2d(2 * dim, 3, 3, padding=1, bias=self.bias)

    @classmethod
    def options_from(cls, shapes: Shapes) -> dict[str, object]:
        levels = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")
        heads = [f"{level}.blocks.0.attn.temperature" for level in levels]
        options: dict[str, object] = {
            "dim": size_of(shapes, "patch_embed.proj.weight", 0),
            "num_blocks": tuple(count_children(shapes, f"{level}.blocks.") for level in levels),
            "num_refinement_blocks": count_children(shapes, "refinement.blocks."),
            "ffn_expansion_factor": expansion_of(
                (size_of(shapes, name, 1), size_of(shapes, name, 0) // 2)
                for name in shapes
                if name.endswith(".ffn.project_in.weight")
            ),
            "architecture": next((a for a, key in TELLTALES.items() if key in shapes), "plain"),
            "request_types": request_types_in(shapes),
            "norm": "bias-free" if _is_bias_free(shapes) else "with-bias",
        }
        if all(name in shapes for name in heads):  # not of a level without blocks
            options["heads"] = tuple(size_of(shapes, name, 0) for name in heads)
        return options

    def block(self, dim: int, level: int) -> TransformerBlock:
        return TransformerBlock(
            dim,
            heads=self.heads[level],
            expansion=self.ffn_expansion_factor,
            bias=self.bias,
            norm=self.norm,
        )

    def stage(self, dim: int, level: int, blocks: int) -> BlockSequence:
        return BlockSequence(self.block(dim, level) for _ in range(blocks))

    def encoder_stage(self, dim: int, level: int) -> BlockSequence:
        return self.instructed(self.stage(dim, level, self.num_blocks[level]), dim, level)

    def decoder_stage(self, dim: int, level: int) -> BlockSequence:
        blocks = self.num_blocks[level]
        if self.architecture == "moe":
            return BlockSequence(
                MoETransformerBlock(
                    dim,
                    heads=self.heads[level],
                    expansion=self.ffn_expansion_factor,
                    bias=self.bias,
                    embedding=8 * self.dim,
                    norm=self.norm,
                )
                for _ in range(blocks_of_decoder(blocks))
            )
        return self.instructed(self.stage(dim, level, blocks), dim, level)

    def instructed(self, stage: BlockSequence, dim: int, level: int) -> BlockSequence:
        """Return the stage; of a request-conditioned network closed by an instruction block."""
        if self.architecture != "instruct":
            return stage
        block = InstructionBlock(self.block(dim, level), channels=dim)
        return InstructedStage(stage.blocks, instructed=block)

    def pointwise(self, dim_in: int, dim_out: int) -> nn.Conv2d:
        return nn.Conv2d(dim_in, dim_out, 1, bias=self.bias)

    def add_guidance(self, level: int, dim: int) -> int:
        """Add what guides the upsampling from a level, whose features have `dim` channels.

        Return their number of channels after it.
        """
        if self.architecture == "frequency":
            block = FrequencyBlock(dim, scale=2**level, heads=self.heads[2], bias=self.bias)
            self.add_module(f"frequency{level}", block)
        return dim

    def guided(
        self, x: Tensor, level: int, lq: Tensor, on_grid: OnGrid, pool: GlobalPool
    ) -> Tensor:
        """Return the features x of a level, guided, ready for upsampling."""
        if self.architecture == "frequency":
            return self.get_submodule(f"frequency{level}")(x, lq, on_grid, pool)
        return x

    def routing(self, latent: Tensor, on_grid: OnGrid, pool: GlobalPool) -> tuple[Tensor, ...]:
        """Return by itself what the experts of the decoder are chosen by, or nothing."""
        if self.degradation_embedding is None:
            return ()
        return (self.degradation_embedding(latent, on_grid, pool),)

    def auxiliary_loss(self) -> Tensor | None:
        return take_load_loss(self)

    def encode(
        self,
        lq: Tensor,
        on_grid: OnGrid = apply,
        pool: GlobalPool = whole_image,
        request: Tensor | None = None,
    ) -> Encoded:
        context = (on_grid, pool)
        instructed = (*context, *self.instruction(request))
        level1 = self.encoder_level1(on_grid(self.patch_embed, lq), *instructed)
        level2 = self.encoder_level2(on_grid(self.down1_2, level1), *instructed)
        level3 = self.encoder_level3(on_grid(self.down2_3, level2), *instructed)
        x = self.latent(on_grid(self.down3_4, level3), *context)

        routed = (*instructed, *self.routing(x, *context))
        x = torch.cat([on_grid(self.up4_3, self.guided(x, 3, lq, *context)), level3], dim=1)
        decoded3 = self.decoder_level3(self.reduce_chan_level3(x), *routed)
        x = torch.cat([on_grid(self.up3_2, self.guided(decoded3, 2, lq, *context)), level2], dim=1)
        decoded2 = self.decoder_level2(self.reduce_chan_level2(x), *routed)
        x = torch.cat([on_grid(self.up2_1, self.guided(decoded2, 1, lq, *context)), level1], dim=1)
        decoded1 = self.decoder_level1(x, *routed)
        refined = self.refinement(decoded1, *context)
        return Encoded(latent=refined, features=(decoded3, decoded2, decoded1, refined))

    def head(self, latent: Tensor) -> Tensor:
        return self.output(latent)


def _is_bias_free(shapes: Shapes) -> bool:
    norms = [name.removesuffix("weight") for name in shapes if name.endswith(".norm1.weight")]
    return bool(norms) and not any(f"{norm}bias" in shapes for norm in norms)
