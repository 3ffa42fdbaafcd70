"""PromptIR (Potlapalli et al., 2023), as MaskDCPT releases it: with biases throughout."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskdcpt_cli.models.backbone import Backbone, Encoded
from maskdcpt_cli.models.layers import Downsample, PatchEmbed, Stage, TransformerBlock, Upsample
from maskdcpt_cli.models.masking import OnGrid, apply

PROMPT_LENGTH = 5
PROMPTS = {1: (64, 64), 2: (128, 32), 3: (320, 16)}  # level: (channels, size)


class Prompt(nn.Module):
    """A mixture of learned prompts, weighted by the features' mean (PromptIR, Sec. 3.1)."""

    def __init__(self, dim: int, *, channels: int, size: int) -> None:
        super().__init__()
        self.prompt_param = nn.Parameter(torch.rand(1, PROMPT_LENGTH, channels, size, size))
        self.linear_layer = nn.Linear(dim, PROMPT_LENGTH)
        self.conv3x3 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor, on_grid: OnGrid = apply) -> Tensor:
        weights = self.linear_layer(x.mean(dim=(-2, -1))).softmax(dim=1)
        prompt = (weights[:, :, None, None, None] * self.prompt_param).sum(dim=1)

        def draw(grid: Tensor) -> Tensor:
            return self.conv3x3(F.interpolate(prompt, grid.shape[-2:], mode="bilinear"))

        return on_grid(draw, x)


class PromptIR(Backbone):
    """Restormer whose decoder reads a prompt at each level but the finest."""

    options = ("dim", "num_blocks", "num_refinement_blocks", "heads", "ffn_expansion_factor")

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
        self.dim = dim
        self.num_blocks = tuple(num_blocks)
        self.num_refinement_blocks = num_refinement_blocks
        self.heads = tuple(heads)
        self.ffn_expansion_factor = ffn_expansion_factor
        self.size_multiple = 8

        def block(dim: int, level: int) -> TransformerBlock:
            return TransformerBlock(
                dim, heads=heads[level], expansion=ffn_expansion_factor, bias=True
            )

        def stage(dim: int, level: int, blocks: int) -> Stage:
            return Stage(block(dim, level) for _ in range(blocks))

        self.patch_embed = PatchEmbed(dim)
        self.encoder_level1 = stage(dim, 0, num_blocks[0])
        self.down1_2 = Downsample(dim)
        self.encoder_level2 = stage(2 * dim, 1, num_blocks[1])
        self.down2_3 = Downsample(2 * dim)
        self.encoder_level3 = stage(4 * dim, 2, num_blocks[2])
        self.down3_4 = Downsample(4 * dim)
        self.latent = stage(8 * dim, 3, num_blocks[3])

        # A level's features, joined by its prompt, pass one block and shrink to the level's width.
        for level, dim_in, dim_out in (
            (3, 8 * dim, 4 * dim),
            (2, 4 * dim, 4 * dim),
            (1, 2 * dim, 2 * dim),
        ):
            channels, size = PROMPTS[level]
            self.add_module(f"prompt{level}", Prompt(dim_in, channels=channels, size=size))
            self.add_module(f"noise_level{level}", block(dim_in + channels, 2))
            self.add_module(f"reduce_noise_level{level}", nn.Conv2d(dim_in + channels, dim_out, 1))

        self.up4_3 = Upsample(4 * dim)
        self.reduce_chan_level3 = nn.Conv2d(6 * dim, 4 * dim, 1)
        self.decoder_level3 = stage(4 * dim, 2, num_blocks[2])
        self.up3_2 = Upsample(4 * dim)
        self.reduce_chan_level2 = nn.Conv2d(4 * dim, 2 * dim, 1)
        self.decoder_level2 = stage(2 * dim, 1, num_blocks[1])
        self.up2_1 = Upsample(2 * dim)
        self.decoder_level1 = stage(2 * dim, 0, num_blocks[0])
        self.refinement = stage(2 * dim, 0, num_refinement_blocks)
        self.output = nn.Conv2d(2 * dim, 3, 3, padding=1)

    def prompted(self, x: Tensor, level: int, on_grid: OnGrid) -> Tensor:
        """The features x of a level after they have met its prompt."""
        prompt = self.get_submodule(f"prompt{level}")(x, on_grid)
        x = self.get_submodule(f"noise_level{level}")(torch.cat([x, prompt], dim=1), on_grid)
        return self.get_submodule(f"reduce_noise_level{level}")(x)

    def encode(self, lq: Tensor, on_grid: OnGrid = apply) -> Encoded:
        level1 = self.encoder_level1(on_grid(self.patch_embed, lq), on_grid)
        level2 = self.encoder_level2(on_grid(self.down1_2, level1), on_grid)
        level3 = self.encoder_level3(on_grid(self.down2_3, level2), on_grid)
        x = self.latent(on_grid(self.down3_4, level3), on_grid)

        x = torch.cat([on_grid(self.up4_3, self.prompted(x, 3, on_grid)), level3], dim=1)
        decoded3 = self.decoder_level3(self.reduce_chan_level3(x), on_grid)
        x = torch.cat([on_grid(self.up3_2, self.prompted(decoded3, 2, on_grid)), level2], dim=1)
        decoded2 = self.decoder_level2(self.reduce_chan_level2(x), on_grid)
        x = torch.cat([on_grid(self.up2_1, self.prompted(decoded2, 1, on_grid)), level1], dim=1)
        decoded1 = self.decoder_level1(x, on_grid)
        refined = self.refinement(decoded1, on_grid)
        return Encoded(latent=refined, features=(decoded3, decoded2, decoded1, refined))

    def head(self, latent: Tensor) -> Tensor:
        return self.output(latent)
