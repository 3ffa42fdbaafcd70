"""The learning rate over a run."""

import math
from collections.abc import Sequence

from maskdcpt_cli.presets.training import Phase


def phase_at(phases: Sequence[Phase], iteration: int) -> Phase:
    """The phase that an iteration is in; the last one, after the run's end."""
    return next((phase for phase in phases if iteration < phase.end), phases[-1])


def rate_at(phases: Sequence[Phase], iteration: int) -> float:
    """The rate of an iteration: constant, or from `after` on half a cosine down to `final`.

    SGDR (Loshchilov & Hutter, 2017), Eq. 5; a phase restarts it.
    """
    begin, end, rate = phase_at(phases, iteration)
    if rate.final is None or iteration - begin <= rate.after:
        return rate.initial
    progress = (iteration - begin - rate.after) / (end - begin - rate.after)
    return rate.final + (rate.initial - rate.final) * (1 + math.cos(math.pi * progress)) / 2
