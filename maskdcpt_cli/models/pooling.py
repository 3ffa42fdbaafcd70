"""Global pooling: over the map, or over the whole image that the map is a tile of.

A backbone passes every operation that pools over all positions through a `GlobalPool` callable.
On a whole image it just runs the operation. An image too large for memory is restored in tiles,
whose pooled values would differ from tile to tile. Two passes avoid this.
First a batch of tiles that sample the image runs as one image (`JointPool`), which keeps each
pooled value; then every tile runs with these values in place of its own (`RecordedPool`).
Like `OnGrid`, the callable is an argument, so that a network compiles and exports as it is.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


class GlobalPool:
    """Pooling of maps of whole images."""

    def __call__(self, op: Callable[..., Tensor], *maps: Tensor) -> Tensor:
        """Pool maps (B, C, h, w) by an operation whose result does not depend on their size."""
        return op(*maps)

    def stretch(self, prompt: Tensor, grid: Tensor) -> Tensor:
        """Resize a prompt (B, C, s, s) to the size of `grid` (B, ., h, w)."""
        return F.interpolate(prompt, grid.shape[-2:], mode="bilinear")


whole_image = GlobalPool()


class _TilePool(GlobalPool):
    """Pooling of maps of tiles of one image.

    `boxes` (B, 4) holds top, left, height and width of each tile as fractions of the image.
    """

    def __init__(self, boxes: Tensor) -> None:
        self.boxes = boxes

    def stretch(self, prompt: Tensor, grid: Tensor) -> Tensor:
        top, left, height, width = self.boxes.view(-1, 4, 1, 1).unbind(dim=1)
        size = prompt.shape[-1]
        rows = _bilinear(top, height, grid.shape[-2], size)[:, None].to(prompt.dtype)
        columns = _bilinear(left, width, grid.shape[-1], size)[:, None].to(prompt.dtype)
        return rows @ prompt @ columns.transpose(-2, -1)


class JointPool(_TilePool):
    """Pooling of a batch of tiles as one image; `values` holds the results, in order of use.

    One part in `context` of the height of a tile, and of its width, is left out on each side,
    because zero padding, which the image does not have, affects it: otherwise the values that
    `tiny` pools over tiles of 256 pixels are off by a third, and so is the exposure of the result.
    0 leaves out nothing.
    """

    def __init__(self, boxes: Tensor, *, context: int = 0) -> None:
        super().__init__(boxes)
        self.context = context
        self.values: list[Tensor] = []

    def __call__(self, op: Callable[..., Tensor], *maps: Tensor) -> Tensor:
        self.values.append(op(*(_as_one_image(self._inner(x)) for x in maps)))
        return self.values[-1]

    def _inner(self, x: Tensor) -> Tensor:
        if not self.context:
            return x
        height, width = x.shape[-2:]
        rows, columns = height // self.context, width // self.context
        return x[..., rows : height - rows, columns : width - columns]


class RecordedPool(_TilePool):
    """Values that a `JointPool` recorded, for tiles of the same image; for one pass only."""

    def __init__(self, boxes: Tensor, values: Sequence[Tensor]) -> None:
        super().__init__(boxes)
        self.values = iter(values)

    def __call__(self, op: Callable[..., Tensor], *maps: Tensor) -> Tensor:  # noqa: ARG002
        return next(self.values)


def _as_one_image(x: Tensor) -> Tensor:
    """Return (1, C, B * h, w) of (B, C, h, w), the tiles below one another."""
    return x.transpose(0, 1).flatten(1, 2)[None]


def _bilinear(start: Tensor, extent: Tensor, count: int, size: int) -> Tensor:
    """Return weights (B, count, size) of bilinear interpolation along one axis of a prompt.

    They are for `count` positions from `start` (B, 1, 1) over `extent`, fractions of the image to
    which `size` values are resized, as `F.interpolate` does without `align_corners`.
    """
    steps = torch.arange(count, device=start.device).view(1, -1, 1) + 0.5
    at = (start + extent * steps / count) * size - 0.5
    values = torch.arange(size, device=start.device).view(1, 1, -1)
    return (1 - (at.clamp(0, size - 1) - values).abs()).clamp(min=0)
