"""A metric."""

from torch import Tensor


def gradient_mae(restored: Tensor, gt: Tensor) -> Tensor:
    """Return the mean absolute error of the gradients of two images (1, 3, H, W) in [0, 1]."""
    errors = [(restored.diff(dim=dim) - gt.diff(dim=dim)).abs().mean() for dim in (2, 3)]
    return (errors[0] + errors[1]) / 2
