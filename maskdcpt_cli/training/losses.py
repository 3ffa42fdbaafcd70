"""What training minimises."""

from collections.abc import Mapping
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

FAINTEST = 0.02  # so that a clean image, whose L1 is nothing, weighs no more than faint noise
FAINT = 0.03  # likewise for the RMSE: a clean image weighs ten times as much as a dark one
SMALL = 0.04  # RMSE below which it counts by its square: small harm must not forbid small gains


class Losses(NamedTuple):
    """The losses of a batch, each a mean over its images."""

    total: Tensor  # ()
    parts: Mapping[str, Tensor] = {}  # what it is the weighted sum of
    accuracy: Tensor | None = None  # share of the images whose degradation was named


def relative_l1(restored: Tensor, lq: Tensor, gt: Tensor) -> Tensor:
    """Each image's L1 over that of its input, the mean over a batch (ours).

    By plain L1 haze and darkness, which are large errors, leave little weight to noise and JPEG.

    Args:
        restored, lq, gt: (B, 3, H, W) in [0, 1].
    """
    left, given = ((image - gt).abs().mean(dim=(1, 2, 3)) for image in (restored, lq))
    return (left / (given + FAINTEST)).mean()


def relative_rmse(restored: Tensor, lq: Tensor, gt: Tensor) -> Tensor:
    """Each image's root mean square error over that of its input, the mean over a batch (ours).

    As relative_l1, but in keeping with PSNR, and smooth where little is wrong: else the least
    change of a clean image costs more than what is gained by sharpening a blurred one, and a
    network leaves both as they are.

    Args:
        restored, lq, gt: (B, 3, H, W) in [0, 1].
    """
    left, given = ((image - gt).square().mean(dim=(1, 2, 3)) for image in (restored, lq))
    return (((left + SMALL**2).sqrt() - SMALL) / (given.sqrt() + FAINT)).mean()


def focal_loss(logits: Tensor, label: Tensor, *, gamma: float) -> Tensor:
    """-(1 - p)^gamma log p of the true class, the mean over a batch.

    Lin et al., Focal loss for dense object detection, 2017, Eq. 4, for many classes. 0 makes it
    the cross entropy.

    Args:
        logits: (B, classes).
        label: (B,), int64.
    """
    log_p = -F.cross_entropy(logits, label, reduction="none")
    return -((1 - log_p.exp()) ** gamma * log_p).mean()
