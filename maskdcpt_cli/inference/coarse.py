"""Restoration of the scene: a reduced photo is restored in one piece, its change carried back.

Haze and darkness are matters of the whole photo, and show in a small copy of it. The change of the
copy becomes an affine map of each colour at each of its pixels, which is interpolated and applied
to the photo: He & Sun, "Fast Guided Filter", 2015 (arXiv:1505.00996), Algorithm 2, with each colour
as its own guide.
"""

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from maskdcpt_cli.inference.looking import REDUCED_PIXELS
from maskdcpt_cli.inference.tiling import Band, Read, Step, TileSizeReduced

SHORTEST = 64  # side of the copy, in pixels; networks fail on a few rows
RADIUS = 32  # of the windows of the maps, in pixels of the copy
EPS = 1e-5  # variance of a window below which its slope is drawn to that of the photo
CELLS = 64  # pixels of the copy a side that are averaged at a time

RestoreSteps = Callable[[Read, tuple[int, int]], Iterator[Step]]


@dataclass(frozen=True)
class LocalAffine:
    """The change `gain * lq + offset`, of each colour at each place."""

    gain: Tensor  # (1, 3, h, w), as is `offset`
    offset: Tensor
    size: tuple[int, int]  # H, W of the photo

    def apply(self, lq: Tensor, rows: slice, columns: slice) -> Tensor:
        """Return the restored rectangle (..., 3, h, w) of the photo that lq shows; not clipped."""
        height, width = self.size
        gain, offset = (
            interpolate(interpolate(each, rows, height, dim=-2), columns, width, dim=-1)
            for each in (self.gain, self.offset)
        )
        return lq + torch.addcmul(offset, gain, lq).view_as(lq)


def reduced_size(size: tuple[int, int], max_pixels: int = REDUCED_PIXELS) -> tuple[int, int]:
    """Return the size (h, w) of the reduced copy of a photo of `size` (H, W).

    It has at most `max_pixels`, more only where a side would become shorter than SHORTEST; a small
    photo keeps its size.

    >>> reduced_size((3000, 4000)), reduced_size((300, 400)), reduced_size((100, 100_000))
    ((474, 632), (300, 400), (64, 64000))
    """
    scale = max(math.sqrt(max_pixels / (size[0] * size[1])), SHORTEST / min(size))
    height, width = (math.floor(side * min(1.0, scale)) for side in size)
    return height, width


def restore_reduced(
    restore: RestoreSteps,
    read: Read,
    size: tuple[int, int],
    reduced: tuple[int, int],
    *,
    exact: bool = False,
    level: float = 0,
) -> Generator[TileSizeReduced, None, LocalAffine]:
    """Restore a photo of `size` (H, W), reduced to `reduced` (h, w), and return its change.

    `restore` yields the steps of `restore_tiles`, in one piece where memory allows it; `exact` is
    that of `local_affine`, `level` that of `of_smoothed`.
    """
    lq, squares = reduce(partial(_with_squares, read), size, reduced).chunk(2, dim=1)
    restored = yield from whole(restore(lambda rows, columns: lq[0, :, rows, columns], reduced))
    change = local_affine(lq, restored, size, exact=exact)
    return of_smoothed(change, lq, squares, level)


def _with_squares(read: Read, rows: slice, columns: slice) -> Tensor:
    lq = read(rows, columns)
    return torch.cat((lq, lq * lq))


def whole(steps: Iterator[Step]) -> Generator[TileSizeReduced, None, Tensor]:
    """Return the image (1, 3, H, W) that the bands of `restore_tiles` make up."""
    bands: list[Tensor] = []
    for step in steps:
        match step:
            case Band():
                bands.append(step.restored)
            case TileSizeReduced():
                yield step
    return torch.cat(bands, dim=-2)[None]


def reduce(read: Read, size: tuple[int, int], reduced: tuple[int, int]) -> Tensor:
    """Return a photo of `size` (H, W) as (1, 3, h, w): each pixel the mean of the area it covers.

    The photo is read in rectangles, each once but for shared borders.
    """
    down, across = (list(_areas(full, small)) for full, small in zip(size, reduced, strict=True))
    strips: list[list[Tensor]] = [[] for _ in down]
    for (strip, (rows, vertical)), (columns, horizontal) in product(
        zip(strips, down, strict=True), across
    ):
        part = read(rows, columns)
        strip.append(vertical.to(part) @ part @ horizontal.to(part).T)
    return torch.cat([torch.cat(strip, dim=-1) for strip in strips], dim=-2)[None]


def _areas(full: int, reduced: int) -> Iterator[tuple[slice, Tensor]]:
    """Yield, for every CELLS reduced pixels of an axis, the pixels they cover and their weights.

    The weights are (reduced pixels, pixels); those of a reduced pixel add up to 1.
    """
    for first in range(0, reduced, CELLS):
        last = min(first + CELLS, reduced)
        span = slice(first * full // reduced, -(-last * full // reduced))
        edges = torch.arange(first, last + 1, dtype=torch.float64)[:, None] * (full / reduced)
        left = torch.arange(span.start, span.stop, dtype=torch.float64)
        shared = torch.minimum(edges[1:], left + 1) - torch.maximum(edges[:-1], left)
        yield span, shared.clamp_(min=0) * (reduced / full)


def local_affine(
    lq: Tensor,
    restored: Tensor,
    size: tuple[int, int],
    *,
    exact: bool = False,
    radius: int = RADIUS,
    eps: float = EPS,
) -> LocalAffine:
    """Return the change of a reduced photo for the photo of `size` (H, W) that it shows.

    A change that is affine over the whole photo is fitted first. The guided filter fits the rest,
    so that its `eps` draws slopes to that of the photo, and not to a flat colour. With `exact`,
    the offset has what no window can have, as streaks of rain: the change of the reduced photo is
    `restored` then, pixel by pixel.
    """
    change = restored - lq
    gain, offset = _fit(lq, change, _photo_mean, eps=torch.finfo(lq.dtype).eps)
    rest = change - (gain * lq + offset)
    local = _fit(lq, rest, lambda image: box_mean(image, radius), eps=eps)
    gain, offset = (
        all_over + box_mean(each, radius)
        for all_over, each in zip((gain, offset), local, strict=True)
    )
    return LocalAffine(gain, change - gain * lq if exact else offset, size)


def of_smoothed(change: LocalAffine, lq: Tensor, squares: Tensor, level: float) -> LocalAffine:
    """Return the change of a photo in which what varies by less than `level` is smoothed.

    A change raises contrast, and with it the rounding of the file and the blocks of its JPEG, up to
    bands and patches in skies. So it is that of the photo smoothed by a guided filter, with windows
    of a pixel of the reduced photo and its neighbours; the photo itself keeps its grain.

    Args:
        change: The change of a photo (H, W).
        lq: The photo, reduced, (1, 3, h, w).
        squares: Of its values, reduced likewise.
        level: The step between the values of the file; at least what squares in float32 resolve.
    """
    mean = box_mean(lq, 1)
    variance = (box_mean(squares, 1) - mean * mean).clamp_(min=0)
    kept = variance / (variance + max(level * level, torch.finfo(lq.dtype).eps))
    kept, smooth = box_mean(kept, 1), box_mean(mean - kept * mean, 1)
    return LocalAffine(change.gain * kept, change.offset + change.gain * smooth, change.size)


def _fit(
    lq: Tensor, change: Tensor, mean: Callable[[Tensor], Tensor], *, eps: float
) -> tuple[Tensor, Tensor]:
    """Return gain and offset of a change in the windows of `mean` (equations 3 and 4)."""
    mean_lq, mean_change = mean(lq), mean(change)
    covariance = mean(lq * change) - mean_lq * mean_change
    variance = (mean(lq * lq) - mean_lq * mean_lq).clamp_(min=0)
    gain = covariance / (variance + eps)
    return gain, mean_change - gain * mean_lq


def _photo_mean(image: Tensor) -> Tensor:
    return image.mean(dim=(-2, -1), keepdim=True)


def box_mean(image: Tensor, radius: int) -> Tensor:
    """Return the mean around each pixel of (B, C, H, W), over what a window has of the image."""
    for kernel, padding in (
        ((2 * radius + 1, 1), (radius, 0)),
        ((1, 2 * radius + 1), (0, radius)),
    ):
        image = F.avg_pool2d(image, kernel, 1, padding, count_include_pad=False)
    return image


def interpolate(reduced: Tensor, span: slice, full: int, *, dim: int) -> Tensor:
    """Return the values at pixels `span` of an axis of `full` pixels, linear between the centres.

    `dim` is that axis of `reduced`; beyond its outermost centres its values continue.
    """
    length = reduced.shape[dim]
    pixels = torch.arange(span.start, span.stop, dtype=torch.float64)
    at = ((pixels + 0.5) * (length / full) - 0.5).clamp_(0, length - 1)
    low = at.long()
    high = (low + 1).clamp_(max=length - 1)
    weight = (at - low).to(reduced).view(-1, *[1] * (-1 - dim))
    low, high = low.to(reduced.device), high.to(reduced.device)
    return torch.lerp(reduced.index_select(dim, low), reduced.index_select(dim, high), weight)
