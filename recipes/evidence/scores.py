"""PSNR of images, and how it changes from one arm to another."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.random import default_rng

from maskdcpt_cli import load_model
from maskdcpt_cli.benchmarking.test_sets import from_preset
from maskdcpt_cli.inference.networks import identity, open_network
from maskdcpt_cli.presets.load import load_data
from recipes.tiny.card import measured

RESAMPLES = 10_000  # of the bootstrap

ImageScores = Mapping[str, float]  # PSNR in dB, mean over degradations, by the name of the image


class PSNRChange(NamedTuple):
    """The mean PSNR change of images in dB, and its 95 % interval over them (bootstrap)."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


def image_scores(weights: Path, data: Path, out: Path) -> ImageScores:
    """Restore the test sets of a data preset; what `out` has is not done again.

    An image whose output is refused stays as it is, and counts so.
    """
    network = open_network(load_model(weights))
    scores = defaultdict(list)
    for testset in from_preset(load_data(str(data)), data.parent):
        values = measured(testset, identity(), out / "input", limit=None)
        values |= measured(testset, network, out / network.fingerprint, limit=None)
        for name, psnr in values.items():
            scores[name].append(psnr)
    return {name: fmean(psnr) for name, psnr in scores.items()}


def psnr_change(to: Sequence[ImageScores], of: Sequence[ImageScores]) -> PSNRChange:
    """Return the change to one arm from another, each given by the scores of its seeds."""
    names = sorted(to[0])
    changes = _over_seeds(to, names) - _over_seeds(of, names)
    chosen = default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    low, high = np.percentile(changes[chosen].mean(axis=1), [2.5, 97.5])
    return PSNRChange(float(changes.mean()), float(low), float(high))


def _over_seeds(scores: Sequence[ImageScores], names: Sequence[str]) -> np.ndarray:
    return np.mean([[one[name] for name in names] for one in scores], axis=0)
