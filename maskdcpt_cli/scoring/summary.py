"""From figures of many images to one line a metric."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray

from maskdcpt_cli.scoring.events import Scored
from maskdcpt_cli.scoring.metrics import Metric

RESAMPLES = 10_000
CONFIDENCE = 0.95
DRAWN_AT_ONCE = 2**22  # figures that are drawn at a time; bounds the memory
WORST = 5


class Interval(NamedTuple):
    low: float
    high: float


class Summary(NamedTuple):
    """A metric over a set."""

    metric: str
    mean: float
    interval: Interval | None  # of the mean, at 95 %; None for one image, and one number a set
    images: int  # that were measured


def summarise(
    metrics: Mapping[str, Metric], scored: Sequence[Scored], over_set: Mapping[str, float]
) -> list[Summary]:
    """Each metric's mean, with its interval; metrics without any figure are left out."""
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
    """Where the mean lies at 95 %, by the bootstrap: percentiles of the means of resamples.

    Efron, Bootstrap methods: another look at the jackknife, 1979. The seed makes the same figures
    give the same interval.
    """
    if len(values) < 2:
        return None
    generator = default_rng(seed)
    count, rows = len(values), max(1, DRAWN_AT_ONCE // len(values))
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
    """The images with the worst figures of the first metric that has any, the worst first."""
    for name, metric in metrics.items():
        some = [one for one in scored if name in one.values]
        if some:
            return sorted(some, key=lambda one: metric.goodness(one.values[name]))[:count]
    return []
