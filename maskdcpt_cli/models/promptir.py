"""PromptIR (Potlapalli et al., 2023), as MaskDCPT releases it: with biases throughout.

The convolutions that Potlapalli et al. released have none: `bias` false.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from maskdcpt_cli.models.masking import OnGrid, apply
from maskdcpt_cli.models.pooling import GlobalPool, whole_image
from maskdcpt_cli.models.restormer import SIZES, Restormer
from maskdcpt_cli.models.shapes import Shapes

PROMPT_LENGTH = 5
PROMPTS = {1: (64, 64), 2: (128, 32), 3: (320, 16)}  # level: (channels, size)


class Prompt(nn.Module):
    """A mixture of learned prompts, weighted by the features' mean (PromptIR, Sec. 3.1)."""

    def __init__(self, dim: int, *, channels: int, size: int) -> None:
        super().__init__()
        self.prompt_param = nn.Parameter(torch.rand(1, PROMPT_LENGTH, channels, size, size))
        self.linear_layer = nn.Linear(dim, PROMPT_LENGTH)
        self.conv3x3 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor, on_grid: OnGrid = apply, pool: GlobalPool = whole_image) -> Tensor:
        prompt = (pool(self.weights, x)[:, :, None, None, None] * self.prompt_param).sum(dim=1)
        return on_grid(lambda grid: self.conv3x3(pool.stretch(prompt, grid)), x)

    def weights(self, x: Tensor) -> Tensor:
        """Return the weights of the prompts (B, PROMPT_LENGTH) for a map (B, C, H, W)."""
        return self.linear_layer(x.mean(dim=(-2, -1))).softmax(dim=1)


class PromptIR(Restormer):
    """Restormer with a prompt added to the features of each level before upsampling."""

    options = (*SIZES, "bias")
    architectures: ClassVar[tuple[str, ...]] = ("plain",)
    telltale = "prompt1.prompt_param"

    def __init__(
        self,
        *,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        num_refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = 2.66,
        bias: bool = True,
    ) -> None:
        super().__init__(
            dim=dim,
            num_blocks=num_blocks,
            num_refinement_blocks=num_refinement_blocks,
            heads=heads,
            ffn_expansion_factor=ffn_expansion_factor,
            bias=bias,
        )

    @classmethod
    def options_from(cls, shapes: Shapes) -> dict[str, object]:
        found = {**super().options_from(shapes), "bias": "output.bias" in shapes}
        return {name: found[name] for name in cls.options if name in found}

    def add_guidance(self, level: int, dim: int) -> int:
        channels, size = PROMPTS[level]
        prompted_dim = min(dim, 4 * self.dim)
        self.add_module(f"prompt{level}", Prompt(dim, channels=channels, size=size))
        self.add_module(f"noise_level{level}", self.block(dim + channels, 2))
        self.add_module(f"reduce_noise_level{level}", self.pointwise(dim + channels, prompted_dim))
        return prompted_dim

    def guided(
        self,
        x: Tensor,
        level: int,
        lq: Tensor,  # noqa: ARG002  the prompts are learned
        on_grid: OnGrid,
        pool: GlobalPool,
    ) -> Tensor:
        prompt = self.get_submodule(f"prompt{level}")(x, on_grid, pool)
        x = self.get_submodule(f"noise_level{level}")(torch.cat([x, prompt], dim=1), on_grid, pool)
        return self.get_submodule(f"reduce_noise_level{level}")(x)
