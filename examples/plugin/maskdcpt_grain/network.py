"""A plain convolutional network: the least that pre-training and restoration ask of one."""

import torch.nn.functional as F
from torch import Tensor, nn

from maskdcpt_cli.models.backbone import Backbone, Encoded
from maskdcpt_cli.models.layers import BlockSequence
from maskdcpt_cli.models.masking import OnGrid, apply
from maskdcpt_cli.models.pooling import GlobalPool, whole_image
from maskdcpt_cli.models.shapes import Shapes, count_children, size_of


class ResidualBlock(nn.Module):
    """A 3x3 convolution between two positions' own layers, with a gain per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, channels, 1)
        self.mix = nn.Conv2d(channels, channels, 3, padding=1)
        self.gain = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor, on_grid: OnGrid, pool: GlobalPool) -> Tensor:
        y = on_grid(self.mix, F.gelu(self.expand(x)))  # it mixes positions, so it needs the grid
        return x + y * pool(self.gain, y)  # it pools over all positions


class PlainCNN(Backbone):
    """Residual blocks at full resolution."""

    options = ("channels", "blocks")
    telltale = "entry.weight"
    beyond_features = ("exit",)
    size_multiple = 1

    def __init__(self, *, channels: int = 32, blocks: int = 4) -> None:
        super().__init__()
        self.channels, self.blocks = channels, blocks
        later = blocks - blocks // 2
        self.feature_dims = (channels,) * later
        self.feature_scales = (1,) * later
        self.entry = nn.Conv2d(3, channels, 3, padding=1)
        # A stage of one block each: their outputs are the features.
        self.trunk = nn.ModuleList(BlockSequence([ResidualBlock(channels)]) for _ in range(blocks))
        self.exit = nn.Conv2d(channels, 3, 3, padding=1)

    @classmethod
    def options_from(cls, shapes: Shapes) -> dict[str, object]:
        return {
            "channels": size_of(shapes, "entry.weight", 0),
            "blocks": count_children(shapes, "trunk."),
        }

    def encode(
        self,
        lq: Tensor,
        on_grid: OnGrid = apply,
        pool: GlobalPool = whole_image,
        request: Tensor | None = None,
    ) -> Encoded:
        self.instruction(request)  # refuses one, as this network takes none
        x = on_grid(self.entry, lq)
        maps = []
        for stage in self.trunk:
            x = stage(x, on_grid, pool)
            maps.append(x)
        return Encoded(latent=x, features=tuple(maps[self.blocks // 2 :]))

    def head(self, latent: Tensor) -> Tensor:
        residual: Tensor = self.exit(latent)
        return residual
