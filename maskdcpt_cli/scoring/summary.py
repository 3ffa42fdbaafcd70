"""Summary of many images: one line per metric."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray
from scipy.stats import bootstrap

from maskdcpt_cli.scoring.events import Scored, Unavailable
from maskdcpt_cli.scoring.metrics import Metric

RESAMPLES = 10_000
CONFIDENCE = 0.95
RESAMPLED_AT_ONCE = 2**22  # values resampled at once; bounds the memory
WORST = 5


class Interval(NamedTuple):
    """Confidence interval."""

    low: float
    high: float


class Summary(NamedTuple):
    """Summary of a metric over a set."""

    metric: str
    mean: float
    interval: Interval | None  # of the mean, 95 %; None for one image or a metric over the set
    images: int  # measured ones


class ScoreResult(NamedTuple):
    """Scores of a set of images."""

    images: tuple[Scored, ...]  # in the order of the items
    summaries: tuple[Summary, ...]  # of the metrics with a value, in the order requested
    unavailable: tuple[Unavailable, ...]  # metrics that could not be measured

    @property
    def means(self) -> dict[str, float]:
        """Mean of each metric over the images; of FID and the like the value over the set."""
        return {one.metric: one.mean for one in self.summaries}

    @property
    def intervals(self) -> dict[str, Interval]:
        """95 % interval of each mean; there is none for one image, nor over the set."""
        return {one.metric: one.interval for one in self.summaries if one.interval}


def summarise(
    metrics: Mapping[str, Metric], scored: Sequence[Scored], over_set: Mapping[str, float]
) -> list[Summary]:
    """Return the mean of each metric with its interval; metrics without a value are left out."""
    found = []
    for name in metrics:
        values = np.array([one.values[name] for one in scored if name in one.values])
        if name in over_set:
            good = sum(one.problem is None for one in scored)
            found.append(Summary(name, over_set[name], None, good))
        elif len(values):
            found.append(Summary(name, float(values.mean()), interval(values), len(values)))
    return found


def interval(values: NDArray[np.float64], *, seed: int = 0) -> Interval | None:
    """Return the 95 % interval of the mean of (N,) by the percentile bootstrap; None if N < 2.

    With one seed, equal values give equal intervals.
    """
    if len(values) < 2:
        return None
    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        batch=max(1, RESAMPLED_AT_ONCE // len(values)),
        rng=default_rng(seed),
    )
    low, high = found.confidence_interval
    return Interval(float(low), float(high))


def worst(
    metrics: Mapping[str, Metric], scored: Sequence[Scored], *, count: int | None = WORST
) -> list[Scored]:
    """Return the worst images by the first metric that has any values, the worst first."""
    for name, metric in metrics.items():
        some = [one for one in scored if name in one.values]
        if some:
            return sorted(some, key=lambda one: metric.goodness(one.values[name]))[:count]
    return []
