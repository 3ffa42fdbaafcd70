"""The order of samples: functions of (seed, iteration, rank), so that any run can be resumed."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from maskdcpt_cli.errors import MaskDCPTError

ROUNDS = 6
MASK = 2**64 - 1


def permuted(position: int, *, length: int, seed: tuple[int, ...]) -> int:
    """Return the image of a position under a pseudo-random permutation of range(length).

    It needs no memory: a Feistel network permutes a power of four, not above four times the length,
    and is repeated until the result is in the range (Black & Rogaway, Ciphers with arbitrary finite
    domains, 2002).
    """
    half = max(1, ((length - 1).bit_length() + 1) // 2)
    low = 2**half - 1
    keys = _round_keys(seed)
    while True:
        left, right = position >> half, position & low
        for key in keys:
            left, right = right, left ^ (_scrambled(right ^ key) & low)
        position = left << half | right
        if position < length:
            return position


@lru_cache(maxsize=16)
def _round_keys(seed: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(np.random.SeedSequence(seed).generate_state(ROUNDS, np.uint64).tolist())


def _scrambled(number: int) -> int:
    """Apply the finaliser of SplitMix64: each bit depends on every bit of the number."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & MASK
    number = (number ^ number >> 27) * 0x94D049BB133111EB & MASK
    return number ^ number >> 31


class SampleKey(NamedTuple):
    """The number and the size of a sample."""

    number: int  # of the sample in the run
    crop_size: int


class BatchStage(NamedTuple):
    """A part of a run with one batch size and crop size."""

    batch: int  # samples of all ranks in one iteration
    crop_size: int
    iterations: int | None = None  # None, in the last stage: without end


def local_part(batch: int, *, rank: int, world: int) -> range:
    """Return which samples of a batch are a rank's; parts differ by one at most, or are empty."""
    return range(batch * rank // world, batch * (rank + 1) // world)


class Batches:
    """The samples of one rank at each iteration, from any iteration on.

    The samples of an iteration are the same on any number of ranks, each of which has its part. A
    rank whose part is empty has a sample of another one, which is not to count: all ranks have to
    exchange gradients. `iter` begins at `first` each time.
    """

    def __init__(
        self,
        stages: Sequence[BatchStage],
        *,
        rank: int = 0,
        world: int = 1,
        first: int = 0,
        last: int | None = None,
    ) -> None:
        if not stages or any(stage.iterations is None for stage in stages[:-1]):
            raise MaskDCPTError("Every stage of a run but the last needs a number of iterations.")
        self.stages = tuple(stages)
        self.rank = rank
        self.world = world
        self.first = first
        self.last = last  # the iteration to end before; None: with the last stage

    def __iter__(self) -> Iterator[list[SampleKey]]:
        iteration = self.first
        while self.last is None or iteration < self.last:
            batch = self.at(iteration)
            if batch is None:
                return
            yield batch
            iteration += 1

    def at(self, iteration: int) -> list[SampleKey] | None:
        """Return the samples of an iteration; None after the end of the run."""
        first, stage = self._begin(iteration)
        if stage is None:
            return None
        own = local_part(stage.batch, rank=self.rank, world=self.world)
        numbers = own or range(own.start, own.start + 1)
        return [SampleKey(first + number, stage.crop_size) for number in numbers]

    def _begin(self, iteration: int) -> tuple[int, BatchStage | None]:
        """Return the number of the first sample of an iteration, over all ranks, and its stage."""
        number = 0
        for stage in self.stages:
            if stage.iterations is None or iteration < stage.iterations:
                return number + iteration * stage.batch, stage
            iteration -= stage.iterations
            number += stage.iterations * stage.batch
        return number, None
