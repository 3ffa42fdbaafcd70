"""The learning rate over a run."""

import math

from maskdcpt_cli.training_presets import Rate


def rate_at(rate: Rate, iteration: int, *, iterations: int) -> float:
    """The rate of an iteration: constant, or from `after` on half a cosine down to `final`.

    SGDR (Loshchilov & Hutter, 2017), Eq. 5, without restarts.
    """
    if rate.final is None or iteration <= rate.after:
        return rate.initial
    progress = (iteration - rate.after) / (iterations - rate.after)
    return rate.final + (rate.initial - rate.final) * (1 + math.cos(math.pi * progress)) / 2
