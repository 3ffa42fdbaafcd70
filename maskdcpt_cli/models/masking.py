"""Masking: layers that mix neighbouring positions, on the whole map or on its visible part.

A backbone passes every such layer through an `OnGrid` callable. Restoration uses `apply`, which
just runs the layer. Masked pre-training (Sec. IV-A, Eq. 1) uses a `PatchMask`: between these layers
a map holds its visible positions only, and the mask scatters them to their grid, runs the layer
there, and gathers the visible positions of the result. Hidden positions are thereby zero for every
layer, which is submanifold convolution, for grouped ones too. Most 3x3 convolutions give the same
result without the grid, faster.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from maskdcpt_cli.errors import unknown
from maskdcpt_cli.models.mask_methods import METHODS
from maskdcpt_cli.models.submanifold import NeighbourIndex

OnGrid = Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]


def apply(op: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Run the layer on the whole map, as restoration does."""
    return op(x)


class PatchMask:
    """The visible patches of each image of a batch; every image keeps the same number.

    A packed map has the shape (B, C, 1, visible positions): convolutions are slower on tall maps
    than on wide ones. Its positions are ordered patch by patch. At a resolution so coarse that a
    position covers more than a patch, all positions count as visible (ours; it happens with patch
    sizes 1 and 4), and a map is not packed.

    `visible` holds the indices (B, kept) of the visible patches, row by row over the grid of
    patches of images of `size` (H, W).
    """

    def __init__(self, visible: Tensor, *, size: tuple[int, int], patch_size: int) -> None:
        height, width = size
        if height % patch_size or width % patch_size:
            raise ValueError(
                f"Patches of {patch_size} pixels do not divide an image of {height}x{width}; "
                "choose a crop that is a multiple of the patch size."
            )
        self.visible = visible
        self.size = size
        self.patch_size = patch_size
        self._grids: dict[int, tuple[int, int]] = {}  # visible positions -> (h, w)
        self._rows: dict[tuple[int, int], Tensor] = {}  # (h, w) -> rows of the flattened grid
        self._neighbours: dict[int, NeighbourIndex] = {}  # by visible positions
        scale = 1
        while patch_size % scale == 0 and height % scale == 0 and width % scale == 0:
            self._index(height // scale, width // scale, patch_size // scale)
            scale *= 2

    @classmethod
    def random(
        cls,
        batch: int,
        *,
        size: tuple[int, int],
        patch_size: int = 16,
        mask_ratio: float = 0.5,
        generator: torch.Generator | None = None,
    ) -> "PatchMask":
        """Draw a mask by the method of the settings of the paper."""
        return cls.draw(
            "random",
            batch,
            size=size,
            patch_size=patch_size,
            mask_ratio=mask_ratio,
            generator=generator,
        )

    @classmethod
    def draw(
        cls,
        method: str,
        batch: int,
        *,
        size: tuple[int, int],
        patch_size: int = 16,
        mask_ratio: float = 0.5,
        generator: torch.Generator | None = None,
    ) -> "PatchMask":
        """Draw a mask for each image: round(N * (1 - mask_ratio)) of N patches stay visible.

        `method` is a key of `mask_methods.METHODS`; ValueError for another.
        """
        if method not in METHODS:
            raise ValueError(unknown("mask method", method, METHODS))
        rows, columns = size[0] // patch_size, size[1] // patch_size
        kept = count_visible(size, patch_size=patch_size, mask_ratio=mask_ratio)
        hidden = METHODS[method](batch, rows, columns, rows * columns - kept, generator)
        return cls(visible_patches(hidden, kept), size=size, patch_size=patch_size)

    @classmethod
    def draw_each(
        cls,
        method: str,
        generators: Sequence[torch.Generator],
        *,
        size: tuple[int, int],
        patch_size: int,
        mask_ratio: float,
        device: torch.device,
    ) -> "PatchMask":
        """Draw a mask for each image from a generator of its own, and index them on the device.

        The same generators give the same masks on every device; nothing waits for a GPU.
        """
        rows, columns = size[0] // patch_size, size[1] // patch_size
        kept = count_visible(size, patch_size=patch_size, mask_ratio=mask_ratio)
        hide, count = METHODS[method], rows * columns - kept
        hidden = torch.cat([hide(1, rows, columns, count, generator) for generator in generators])
        if device.type == "cuda":
            hidden = hidden.pin_memory()
        hidden = hidden.to(device, non_blocking=True)
        return cls(visible_patches(hidden, kept), size=size, patch_size=patch_size)

    def __call__(self, op: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        if type(op) is nn.Conv2d and x.shape[-2] == 1:  # a subclass may compute anything
            neighbours = self._neighbours.get(x.shape[-1])
            if neighbours is not None and neighbours.supports(op):
                return neighbours.convolve(op, x)
        return self.pack(op(self.unpack(x)))

    def pack(self, grid: Tensor) -> Tensor:
        """Pack (B, C, h, w) to (B, C, 1, visible), or return it where all positions are visible."""
        batch, channels, height, width = grid.shape
        rows = self._rows.get((height, width))
        if rows is None:
            return grid
        flat = grid.permute(0, 2, 3, 1).reshape(-1, channels)
        return flat.index_select(0, rows).view(batch, 1, -1, channels).permute(0, 3, 1, 2)

    def unpack(self, x: Tensor) -> Tensor:
        """Unpack (B, C, 1, visible) to (B, C, h, w), zero at hidden positions."""
        return self.fill(x, x.new_zeros(x.shape[1]))

    def fill(self, x: Tensor, token: Tensor) -> Tensor:
        """Unpack (B, C, 1, visible) to (B, C, h, w), with the token (C,) at hidden positions."""
        batch, channels, lines, positions = x.shape
        if lines != 1 or positions not in self._grids:
            return x
        height, width = self._grids[positions]
        rows = self._rows[height, width]
        flat = token.to(x.dtype).expand(batch * height * width, channels)
        flat = flat.index_copy(0, rows, x.permute(0, 2, 3, 1).reshape(-1, channels))
        return flat.view(batch, height, width, channels).permute(0, 3, 1, 2)

    def _index(self, height: int, width: int, patch: int) -> None:
        """Index the visible positions of a (height, width) grid with patches of side `patch`."""
        batch, kept = self.visible.shape
        columns = width // patch
        if kept == (height // patch) * columns:
            return
        device = self.visible.device
        inside = torch.arange(patch, device=device)
        y = (self.visible // columns * patch)[:, :, None, None] + inside[:, None]
        x = (self.visible % columns * patch)[:, :, None, None] + inside
        first = torch.arange(batch, device=device).view(-1, 1, 1, 1) * (height * width)
        rows = (first + y * width + x).flatten()
        positions = kept * patch**2
        self._grids[positions] = (height, width)
        self._rows[height, width] = rows
        self._neighbours[positions] = NeighbourIndex(
            rows, self.visible, size=(height, width), patch=patch
        )


def count_visible(size: tuple[int, int], *, patch_size: int, mask_ratio: float) -> int:
    """Return how many patches of an image of this size (H, W) stay visible."""
    return round((size[0] // patch_size) * (size[1] // patch_size) * (1 - mask_ratio))


def visible_patches(hidden: Tensor, kept: int) -> Tensor:
    """Return the indices (B, kept) of the patches that are not hidden (B, patches), in order.

    Every row has `kept` of them. Unlike `nonzero` this has a shape that is known beforehand, so
    that nothing waits for a GPU.
    """
    return hidden.byte().argsort(dim=1, stable=True)[:, :kept]
