"""A network whose outputs are checked and timed."""

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskdcpt_cli.inference import output_check
from maskdcpt_cli.inference.backends.engine import Network, RestoreTile
from maskdcpt_cli.inference.backends.transfer import Transfer

Result = TypeVar("Result")


class UnsoundError(Exception):
    """The output of the network failed its check."""


class CheckedNetwork:
    """A network whose outputs are checked and whose passes are timed.

    A pass is checked when the next one is queued, so that the device need not wait for the check.
    """

    def __init__(self, network: Network, transfer: Transfer) -> None:
        self.network = network
        self.transfer = transfer
        self.seconds = 0.0
        self._unchecked: Callable[[], NDArray[np.float32]] | None = None

    def __call__(self, lq: Tensor) -> Tensor:
        return self._checked(lq, partial(self.network, lq))

    def record(self, tiles: Tensor, boxes: Tensor) -> RestoreTile:
        restore = self._timed(partial(self.network.record, tiles, boxes))
        return lambda lq, box: self._checked(lq, partial(restore, lq, box))

    def check_last(self) -> None:
        """Wait for the last pass that was not checked, and check its output."""
        if self._unchecked is None:
            return
        summary = self._timed(self._unchecked)
        self._unchecked = None
        if reason := output_check.judge(torch.from_numpy(summary)):
            raise UnsoundError(reason)

    def _checked(self, lq: Tensor, run: Callable[[], Tensor]) -> Tensor:
        restored = self._timed(run)
        unchecked = self.transfer.fetch(output_check.summary(lq, restored))
        self.check_last()
        self._unchecked = unchecked
        return restored

    def _timed(self, run: Callable[[], Result]) -> Result:
        began = perf_counter()
        result = run()
        self.seconds += perf_counter() - began
        return result
