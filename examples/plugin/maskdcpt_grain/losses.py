"""A loss of fine-tuning."""

from torch import Tensor

EPS = 1e-3  # of [0, 1]


def charbonnier(restored: Tensor, lq: Tensor, gt: Tensor) -> Tensor:  # noqa: ARG001  # as all losses
    """Return sqrt(error^2 + EPS^2), the mean over a batch (Lai et al., LapSRN, 2017, Sec. 3.3)."""
    return ((restored - gt).square() + EPS**2).sqrt().mean()
