"""What training minimises."""

from collections.abc import Mapping
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Losses(NamedTuple):
    """The losses of a batch, each a mean over its images."""

    total: Tensor  # ()
    parts: Mapping[str, Tensor] = {}  # what it is the weighted sum of
    accuracy: Tensor | None = None  # share of the images whose degradation was named


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
