"""A network that pools nothing, and the restoration of an image in tiles by it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from maskdcpt_cli.inference.tiling import (
    Band,
    Progress,
    TileSizeReduced,
    restore_tiles,
)


def twice(lq: Tensor) -> Tensor:
    return lq * 2


@dataclass
class Local:
    """A network that pools nothing: it restores a tile as it would an image."""

    run: Callable[[Tensor], Tensor]
    recorded: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def __call__(self, lq: Tensor) -> Tensor:
        return self.run(lq)

    def record(self, tiles: Tensor, boxes: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        self.recorded.append((tiles, boxes))
        return lambda lq, _box: self.run(lq)


@dataclass
class Restoring:
    """Walks the steps and lays the bands on a canvas."""

    image: Tensor
    canvas: Tensor = field(init=False)
    pixels: list[int] = field(default_factory=list)
    bands: list[slice] = field(default_factory=list)
    reductions: list[TileSizeReduced] = field(default_factory=list)

    def __call__(
        self, run: Callable[[Tensor], Tensor], *, tile: int, overlap: int, multiple: int = 1
    ) -> "Restoring":
        self.canvas = torch.full_like(self.image, torch.nan)
        size = (self.image.shape[1], self.image.shape[2])
        steps = restore_tiles(
            Local(run),
            lambda rows, columns: self.image[:, rows, columns].clone(),
            size,
            tile=tile,
            overlap=overlap,
            multiple=multiple,
        )
        for step in steps:
            match step:
                case Progress():
                    self.pixels.append(step.pixels)
                case Band():
                    self.bands.append(step.rows)
                    self.canvas[:, step.rows] = step.restored
                case TileSizeReduced():
                    self.reductions.append(step)
        return self
