"""How sure a classifier may sound, judged by its answers on images that it did not learn from."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

COLDEST, HOTTEST = 0.01, 100.0  # temperatures
HALVINGS = 50  # of the interval between their logarithms: to the last digits


class Answer(NamedTuple):
    """What a classifier said of an image."""

    logits: tuple[float, ...]
    label: int  # what would have been right


def fit_temperature(answers: Sequence[Answer]) -> float:
    """The T for which softmax(logits / T) has the least cross-entropy with what is right.

    One number for all classes (Guo et al., On calibration of modern neural networks, 2017, Sec.
    4.2): it changes no answer, only how probable each is said to be. What is right counts as n + 1
    of n + classes, for n answers, and every other class as 1 (as Platt does for two classes, 1999),
    so that a few answers, all of them right, do not ask for certainty.
    """
    logits = torch.tensor([answer.logits for answer in answers], dtype=torch.float64)
    count, classes = logits.shape
    right = F.one_hot(torch.tensor([answer.label for answer in answers]), classes)
    targets = (right * count + 1) / (count + classes)
    coldest, hottest = torch.tensor([COLDEST, HOTTEST]).double().log().tolist()
    for _ in range(HALVINGS):  # the cross-entropy is convex in 1/T, so its slope has one root
        middle = (coldest + hottest) / 2
        said = (logits / torch.e**middle).softmax(dim=1)
        slope = ((said - targets) * logits).sum().item()  # by 1/T
        coldest, hottest = (middle, hottest) if slope > 0 else (coldest, middle)
    return float(torch.e ** ((coldest + hottest) / 2))
