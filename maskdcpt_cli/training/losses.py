"""Loss functions."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maskdcpt_cli.plugins import Registry

L1_EPS = 0.02  # of [0, 1]: a clean image, whose L1 is 0, weighs no more than faint noise
RMSE_EPS = 0.03  # of [0, 1]: a clean image weighs ten times as much as a dark one
RMSE_KNEE = 0.04  # of [0, 1]: below it an error counts by its square, so that a small regression
# on one image does not forbid a small gain on another


class Losses(NamedTuple):
    """The losses of a batch, each a mean over its images."""

    total: Tensor  # ()
    parts: Mapping[str, Tensor] = {}  # the total is their weighted sum
    accuracy: Tensor | None = None  # fraction of the images classified correctly, in all labels


def l1(restored: Tensor, lq: Tensor, gt: Tensor) -> Tensor:  # noqa: ARG001  # as all LOSSES
    """Return the L1 loss, the mean over a batch (ours: the paper prints no loss of fine-tuning).

    Args:
        restored: (B, 3, H, W) in [0, 1].
        lq: as restored; not used.
        gt: as restored.
    """
    return F.l1_loss(restored, gt)


def relative_l1(restored: Tensor, lq: Tensor, gt: Tensor) -> Tensor:
    """Return each image's L1 over that of its input, the mean over a batch (ours).

    By plain L1 haze and darkness, which are large errors, leave little weight to noise and JPEG.

    Args:
        restored: (B, 3, H, W) in [0, 1].
        lq: as restored.
        gt: as restored.
    """
    error, input_error = ((image - gt).abs().mean(dim=(1, 2, 3)) for image in (restored, lq))
    return (error / (input_error + L1_EPS)).mean()


def relative_rmse(restored: Tensor, lq: Tensor, gt: Tensor) -> Tensor:
    """Return each image's root mean square error over that of its input, the batch mean (ours).

    Like relative_l1, but in keeping with PSNR, and smooth near zero error: otherwise the least
    change of a clean image costs more than sharpening a blurred one gains, and a network leaves
    both as they are.

    Args:
        restored: (B, 3, H, W) in [0, 1].
        lq: as restored.
        gt: as restored.
    """
    mse, input_mse = ((image - gt).square().mean(dim=(1, 2, 3)) for image in (restored, lq))
    return (((mse + RMSE_KNEE**2).sqrt() - RMSE_KNEE) / (input_mse.sqrt() + RMSE_EPS)).mean()


LOSSES: Registry[Callable[[Tensor, Tensor, Tensor], Tensor]] = Registry(  # of fine-tuning
    "LOSSES", {"l1": l1, "relative-l1": relative_l1, "relative-rmse": relative_rmse}
)


def focal_loss(logits: Tensor, label: Tensor, *, gamma: float) -> Tensor:
    """Return -(1 - p)^gamma log p of the true class, the mean over a batch.

    Lin et al., Focal loss for dense object detection, 2017, Eq. 4, for many classes; with gamma 0
    it is the cross entropy.

    Args:
        logits: (B, classes).
        label: (B,), int64.
        gamma: from 0; the larger, the less the examples that are classified well count.
    """
    return _focal(-F.cross_entropy(logits, label, reduction="none"), gamma)


def multi_label_focal_loss(logits: Tensor, present: Tensor, *, gamma: float) -> Tensor:
    """Return -(1 - p)^gamma log p of the truth about each label, the mean over labels and batch.

    p is the sigmoid of a logit where the label is present, and 1 minus it where it is not: Lin et
    al., Eq. 4, without alpha (ours: it would move the probabilities, which are calibrated).

    Args:
        logits: (B, labels).
        present: as logits, 1 for each label of an image and 0 for the others.
        gamma: as of `focal_loss`.
    """
    return _focal(-F.binary_cross_entropy_with_logits(logits, present, reduction="none"), gamma)


def _focal(log_p: Tensor, gamma: float) -> Tensor:
    least = torch.finfo(log_p.dtype).tiny  # at 0, the slope of a power below 1 has no bound
    return -((1 - log_p.exp()).clamp_min(least) ** gamma * log_p).mean()
