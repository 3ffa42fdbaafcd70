"""Calibration of a classifier on held-out images: its temperature, and thresholds of its labels."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from maskdcpt_cli.degradations import scale
from maskdcpt_cli.weights.building import MIN_THRESHOLD, pool_alternatives

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0
BISECTIONS = 50  # of the interval of log temperatures: to the last digits
MAX_CALLED = 3  # percent of clean photos that may be called anything
# Why not below MIN_THRESHOLD: few clean photos promise little about others. Measured as in
# inference/looking.py, with thresholds from 30 of the 60 clean photos: of the other 30, 2 % are
# called anything if no threshold is below 0.5, 8 % (0.4), 11 % (0.3), 30 % (no limit). Of the types
# of degraded photos 56 %, 59 %, 62 % and 79 % are found, and 0.00, 0.01, 0.04 and 1.16 others.


class Prediction(NamedTuple):
    """A classifier's logits for an image, and the true class."""

    logits: tuple[float, ...]
    label: int


class MultiLabelPrediction(NamedTuple):
    """A multi-label classifier's logits for an image, and which of its labels the image has."""

    logits: tuple[float, ...]
    present: tuple[bool, ...]


class Calibration(NamedTuple):
    """What turns the logits of a classifier into an answer."""

    temperature: float | None = None
    thresholds: Mapping[str, float] = MappingProxyType({})  # of a multi-label one, by label


def calibrate(
    predictions: Sequence[Prediction | MultiLabelPrediction], labels: Sequence[str]
) -> Calibration:
    """Calibrate a classifier of some labels, which made the predictions.

    One that is multi-label has thresholds where some of the images are clean.
    """
    single = [one for one in predictions if isinstance(one, Prediction)]
    several = [one for one in predictions if isinstance(one, MultiLabelPrediction)]
    if single:
        return Calibration(fit_temperature(single))
    if not several:
        return Calibration()
    temperature = fit_multi_label_temperature(several)
    clean = [one.logits for one in several if not any(one.present)]
    if not clean:
        return Calibration(temperature)
    probabilities = pool_alternatives((torch.tensor(clean) / temperature).sigmoid(), labels)
    return Calibration(temperature, fit_thresholds(probabilities.double().numpy(), labels))


def fit_temperature(predictions: Sequence[Prediction]) -> float:
    """Return the T for which softmax(logits / T) has the least cross-entropy with the labels.

    One number for all classes (Guo et al., On calibration of modern neural networks, 2017, Sec.
    4.2): it changes no prediction, only the probabilities. The true class counts as n + 1 of n +
    classes, for n predictions, and every other class as 1 (as Platt does for two classes, 1999),
    so that a few predictions, all of them correct, do not ask for certainty.
    """
    logits = torch.tensor([one.logits for one in predictions], dtype=torch.float64)
    count, classes = logits.shape
    one_hot = F.one_hot(torch.tensor([one.label for one in predictions]), classes)
    targets = (one_hot * count + 1) / (count + classes)

    def slope(temperature: float) -> float:  # by 1/T
        probabilities = (logits / temperature).softmax(dim=1)
        return ((probabilities - targets) * logits).sum().item()

    return _least_cross_entropy(slope)


def fit_multi_label_temperature(predictions: Sequence[MultiLabelPrediction]) -> float:
    """Return the T for which sigmoid(logits / T) has the least binary cross-entropy.

    One number for all labels, and the truth about a label counts as n + 1 of n + 2, as in
    `fit_temperature` with two classes.
    """
    logits = torch.tensor([one.logits for one in predictions], dtype=torch.float64)
    present = torch.tensor([one.present for one in predictions]).double()
    targets = (present * len(logits) + 1) / (len(logits) + 2)

    def slope(temperature: float) -> float:  # by 1/T
        return (((logits / temperature).sigmoid() - targets) * logits).sum().item()

    return _least_cross_entropy(slope)


def _least_cross_entropy(slope: Callable[[float], float]) -> float:
    """Return the root of a slope by 1/T; there is one, as the cross-entropy is convex in 1/T."""
    low, high = torch.tensor([MIN_TEMPERATURE, MAX_TEMPERATURE]).double().log().tolist()
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(torch.e**middle) > 0 else (low, middle)
    return float(torch.e ** ((low + high) / 2))


def fit_thresholds(
    clean: NDArray[np.float64], labels: Sequence[str], *, least: float = MIN_THRESHOLD
) -> dict[str, float]:
    """Return the probability of each label above which a photo has it, from clean photos.

    None of these photos is called hazy or dark, as a night sky that is made bright is worse than
    darkness that stays, and at most MAX_CALLED percent are called anything. No threshold could be
    lower without another that is higher, but for `least`.

    Args:
        clean: probabilities (photos, labels) of one clean photo or more.
        labels: abbreviations.
        least: No threshold is below it, in [0, 1].

    Returns:
        The thresholds by label.
    """
    of_scene = np.array([scale(label) == "scene" for label in labels])
    thresholds = np.empty(len(labels))
    thresholds[of_scene] = np.maximum(clean[:, of_scene].max(axis=0), least)
    thresholds[~of_scene] = _lowest(clean[:, ~of_scene], least=least)
    return dict(zip(labels, thresholds.tolist(), strict=True))


def _lowest(clean: NDArray[np.float64], *, least: float) -> NDArray[np.float64]:
    """Return the lowest thresholds at which at most MAX_CALLED percent of the photos are called."""
    allowed = len(clean) * MAX_CALLED // 100
    descending = np.sort(clean, axis=0)[::-1]
    above = np.zeros(clean.shape[1], int)  # photos above the threshold of each label

    def thresholds() -> NDArray[np.float64]:
        return np.maximum(descending[above, np.arange(len(above))], least)

    for _ in range(allowed):  # one photo more of each label in turn
        for label in range(len(above)):
            above[label] += 1
            if (clean > thresholds()).any(axis=1).sum() > allowed:
                above[label] -= 1
    return thresholds()
