"""Summary of many images: one line per metric."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray

from maskdcpt_cli.scoring.events import Scored
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

    Efron, Bootstrap methods: another look at the jackknife, 1979. With one seed, equal values
    give equal intervals.
    """
    if len(values) < 2:
        return None
    generator = default_rng(seed)
    count, rows = len(values), max(1, RESAMPLED_AT_ONCE // len(values))
    means = []
    for start in range(0, RESAMPLES, rows):
        size = (min(rows, RESAMPLES - start), count)
        means.append(values[generator.integers(count, size=size, dtype=np.int32)].mean(axis=1))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(np.concatenate(means), [tail, 100 - tail])
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
