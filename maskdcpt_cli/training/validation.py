"""Validation: scores of a model on images that it is not trained on."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import default_rng
from torch import Tensor

from maskdcpt_cli.data.augment import Augmentation
from maskdcpt_cli.data.mixture import make_sample, to_float
from maskdcpt_cli.data.order import SampleKey
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.degradations import CLEAN, LABELS
from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.training.calibration import MultiLabelPrediction, Prediction, calibrate
from maskdcpt_cli.training.distributed import DistributedContext
from maskdcpt_cli.training.events import Pixels, Scores, Validated, ValidationImages

CENTRE = Augmentation(down=0.5, right=0.5, mirrored=False, quarter_turns=0)
SIDE, SIGMA = 11, 1.5  # of SSIM's Gaussian window, in pixels
C1, C2 = 0.01**2, 0.03**2  # of SSIM
NO_CLEAN = (
    "No clean image is held out, so the classifier has no thresholds: it finds a type where its "
    "probability exceeds 50 %. A setting that ends in +clean has clean images."
)


class ValidationItem(NamedTuple):
    """An image to validate on."""

    entry: ImageSet
    pair_index: int


class ValidationSample(NamedTuple):
    """The tensors of an image to validate on."""

    lq: Tensor  # (1, 3, H, W)
    gt: Tensor  # as lq
    number: Tensor  # (1,), of its pair
    degradation: str  # abbreviation


class ValidationResult(NamedTuple):
    """A model's output for an image, and its scores."""

    scores: Mapping[str, float]
    lq: Tensor  # (3, H, W), the network's input
    output: Tensor  # (3, H, W)
    prediction: Prediction | MultiLabelPrediction | None = (
        None  # of its classifier, for the whole image
    )


class ScoredImage(NamedTuple):
    """The scores of an image, as the ranks exchange them."""

    degradation: str
    scores: dict[str, float]
    prediction: Prediction | MultiLabelPrediction | None
    images: ValidationImages | None = None  # on rank 0, of the first image of a degradation


def choose(entries: Sequence[ImageSet], *, images: int) -> list[ValidationItem]:
    """Choose about so many images of each degradation, spread evenly over all there are."""
    sharing = Counter(d for one in entries for d in one.pairs.degradations())
    items: list[ValidationItem] = []
    for one in entries:
        count = sum(-(-images // sharing[d]) for d in one.pairs.degradations())
        indices = np.linspace(0, len(one.pairs), min(count, len(one.pairs)), endpoint=False)
        items += [ValidationItem(one, int(index)) for index in indices]
    return items


def validate(
    validate_sample: Callable[[ValidationSample], ValidationResult],
    items: Sequence[ValidationItem],
    *,
    labels: Sequence[str],
    crop_size: int,
    distributed: DistributedContext,
    iteration: int,
) -> tuple[Validated, list[str]]:
    """Validate on the images, each on one of the ranks.

    Args:
        validate_sample: as `Task.validate_sample`.
        items: the images.
        labels: of the task, for the thresholds of its classifier.
        crop_size: of the centre of an image that is looked at.
        distributed: the ranks.
        iteration: of the run.

    Returns:
        The scores and the calibration of all ranks, and sentences for the user, one for each image
        that cannot be read.
    """
    scored: list[ScoredImage] = []
    notices: list[str] = []
    for item in items[distributed.rank :: distributed.world_size]:
        try:
            sample = _read(item, crop_size=crop_size, device=distributed.device)
        except ImageError as error:
            notices.append(f"Not validated: {error}")
            continue
        result = validate_sample(sample)
        shown = {other.degradation for other in scored}
        show = distributed.is_main and sample.degradation not in shown
        images = _images(sample, result) if show else None
        scored.append(
            ScoredImage(sample.degradation, dict(result.scores), result.prediction, images)
        )
    images_shown = tuple(one.images for one in scored if one.images)
    of_all_ranks = distributed.gather([one._replace(images=None) for one in scored])
    predictions = [one.prediction for one in of_all_ranks if one.prediction]
    calibration = calibrate(predictions, labels)
    validated = Validated(iteration, _means(of_all_ranks), images_shown, *calibration)
    notices = distributed.gather(notices)
    several = any(isinstance(one, MultiLabelPrediction) for one in predictions)
    if several and not calibration.thresholds:
        notices.append(NO_CLEAN)
    return validated, notices


def mean_score(scores: Scores, metric: str) -> float | None:
    """Return the mean over degradations, weighted equally; None where none has the score.

    Clean images count by their accuracy alone: they can have any PSNR, up to that of no change.
    """
    counted = (row for label, row in scores.items() if label != CLEAN or metric == "accuracy")
    values = [row[metric] for row in counted if metric in row]
    return sum(values) / len(values) if values else None


def psnr(restored: Tensor, gt: Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB of (1, 3, H, W) in [0, 1]; at most 100."""
    error = F.mse_loss(restored, gt).item()
    return -10 * math.log10(max(error, 1e-10))


def ssim(restored: Tensor, gt: Tensor) -> float:
    """Return the structural similarity of (1, 3, H, W) in [0, 1], the mean over channels.

    Wang et al., Image quality assessment: from error visibility to structural similarity, 2004,
    Eq. 13, at positions whose whole window is inside the image.
    """
    # In float64, which autocast does not convolve in bf16, and Apple's GPUs do not have.
    restored, gt = restored.cpu().double(), gt.cpu().double()
    x, y, xx, yy, xy = _smoothed(torch.cat([restored, gt, restored**2, gt**2, restored * gt]))
    structure = (2 * (xy - x * y) + C2) / (xx - x * x + yy - y * y + C2)
    luminance = (2 * x * y + C1) / (x * x + y * y + C1)
    return float((luminance * structure).mean())


def _smoothed(images: Tensor) -> Tensor:
    offsets = torch.arange(SIDE, dtype=images.dtype, device=images.device) - SIDE // 2
    weights = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    weights = (weights / weights.sum()).expand(images.shape[1], 1, 1, SIDE)
    rows = F.conv2d(images, weights, groups=len(weights))
    return F.conv2d(rows, weights.transpose(2, 3), groups=len(weights))


def _read(item: ValidationItem, *, crop_size: int, device: torch.device) -> ValidationSample:
    """Read the centre of an image; its random numbers depend on its index alone."""
    pair = item.entry.pairs.read(item.pair_index, partial(CENTRE.crop, side=crop_size))
    key = SampleKey(item.pair_index, crop_size)
    generator = default_rng(item.pair_index)
    sample = make_sample(
        pair, item.entry.synthesis, CENTRE, generator, key=key, labels=tuple(LABELS), skipped=()
    )
    lq, gt = (to_float(image[None].to(device)) for image in (sample.lq, sample.gt))
    return ValidationSample(lq, gt, sample.number[None], pair.degradation)


def _means(scored: Sequence[ScoredImage]) -> dict[str, dict[str, float]]:
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in scored:
        for metric, value in one.scores.items():
            values[one.degradation][metric].append(value)
    return {
        degradation: {metric: sum(v) / len(v) for metric, v in values[degradation].items()}
        for degradation in LABELS
        if degradation in values
    }


def _images(sample: ValidationSample, result: ValidationResult) -> ValidationImages:
    images = (result.lq, result.output, sample.gt[0])
    return ValidationImages(sample.degradation, *map(_pixels, images))


def _pixels(image: Tensor) -> Pixels:
    scaled = image.detach().float().clip(0, 1).mul(255).round()
    pixels: Pixels = scaled.byte().permute(1, 2, 0).cpu().numpy()
    return pixels
