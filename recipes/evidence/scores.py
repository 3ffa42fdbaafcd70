"""PSNR of photos, and what an arm gains over another."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import default_rng

from maskdcpt_cli.benchmarking.test_sets import from_preset, read_sample
from maskdcpt_cli.presets.load import load_data
from maskdcpt_cli.weights.building import build
from maskdcpt_cli.weights.checkpoint import read_checkpoint

SIDE = 256  # of the centre that is restored, in pixels
RESAMPLES = 10_000  # of the bootstrap

PhotoScores = Mapping[str, float]  # PSNR of each photo, in dB, mean over degradations


class Gain(NamedTuple):
    """The mean gain of photos in dB, and its 95 % interval over them (bootstrap)."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


@torch.inference_mode()
def photo_scores(weights: Path, data: Path) -> PhotoScores:
    """Restore the centres of the test sets of a data preset."""
    network = build(read_checkpoint(weights)).eval()
    scores = defaultdict(list)
    for testset in from_preset(load_data(str(data)), data.parent):
        for index in range(len(testset.pairs)):
            sample = read_sample(testset, index)
            assert sample.gt is not None
            lq, gt = _centre(sample.lq), _centre(sample.gt) / 255
            mse = (network(lq).clip(0, 1) - gt).square().mean()
            scores[sample.name].append(float(-10 * mse.log10()))
    return {photo: float(np.mean(values)) for photo, values in scores.items()}


def gain(ours: Sequence[PhotoScores], theirs: Sequence[PhotoScores]) -> Gain:
    """Return what one arm gains over another, each given by the scores of its seeds."""
    photos = sorted(ours[0])
    gains = _over_seeds(ours, photos) - _over_seeds(theirs, photos)
    chosen = default_rng(0).integers(len(photos), size=(RESAMPLES, len(photos)))
    low, high = np.percentile(gains[chosen].mean(axis=1), [2.5, 97.5])
    return Gain(float(gains.mean()), float(low), float(high))


def _over_seeds(scores: Sequence[PhotoScores], photos: Sequence[str]) -> np.ndarray:
    return np.mean([[one[photo] for photo in photos] for one in scores], axis=0)


def _centre(image: np.ndarray) -> torch.Tensor:
    top, left = (max(0, (side - SIDE) // 2) for side in image.shape[:2])
    centre = image[top : top + SIDE, left : left + SIDE]
    return torch.from_numpy(np.ascontiguousarray(centre)).movedim(-1, 0)[None]
