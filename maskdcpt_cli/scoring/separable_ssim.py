"""Separable Gaussian windows for SSIM, filtered along rows and then along columns.

pyiqa slides SSIM's window of 11x11 over the image in float64, for which PyTorch has no fast
convolution on a CPU: seconds for an image of 768x512. The window is the product of a column and a
row, so two passes of 11 are enough; all else remains pyiqa's code.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

EXACT = 1e-7  # of the largest weight; pyiqa rounds the window to float32, by 3e-8 of it
SMALLEST = 7  # side of a window, from which on it is faster


class Separable(TorchFunctionMode):
    """Mode in which convolutions with separable windows take two passes, in this thread only."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func is torch.conv2d and len(args) == 2:
            x, windows = args
            factors = factorised(windows[0, 0].numpy()) if _is_plain(x, windows, given) else None
            if factors is not None:
                return _filtered(x, *factors)
        return func(*args, **given)


def factorised(
    window: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Factorise a window into a column and a row with the same sum; None if it is not separable."""
    columns, sizes, rows = np.linalg.svd(window)
    column, row = columns[:, 0] * sizes[0], rows[0]
    product = np.outer(column, row)
    if np.abs(window - product).max() > EXACT * np.abs(window).max():
        return None
    return column * (window.sum() / product.sum()), row


def _is_plain(x: Tensor, windows: Tensor, options: Mapping[str, Any]) -> bool:
    """Return whether all channels have one large window, without padding, stride or dilation."""
    defaults = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    channels = x.shape[1]
    return (
        x.dtype == torch.float64
        and x.device.type == "cpu"
        and {**defaults, **options} == {**defaults, "groups": channels}
        and windows.shape[:2] == (channels, 1)
        and min(windows.shape[2:]) >= SMALLEST
        and bool((windows == windows[:1]).all())
    )


def _filtered(x: Tensor, column: NDArray[np.float64], row: NDArray[np.float64]) -> Tensor:
    above, left = len(column) // 2, len(row) // 2
    height, width = x.shape[2] - len(column) + 1, x.shape[3] - len(row) + 1
    planes = x.detach().flatten(0, 1).numpy()
    inside = np.empty((len(planes), max(height, 0), max(width, 0)))
    for plane, target in zip(planes, inside, strict=True):
        whole = cv2.sepFilter2D(plane, -1, row, column)
        target[:] = whole[above : above + height, left : left + width]
    return torch.from_numpy(inside.reshape(*x.shape[:2], *inside.shape[1:]))
