"""The moving average of a network's weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """The exponential moving average of a network's parameters, which evaluates better than they.

    After each step: average = decay * average + (1 - decay) * parameters. It begins as they do.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.parameters = dict(model.named_parameters())
        self.averages = {name: p.detach().clone() for name, p in self.parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        parameters: list[Tensor] = list(self.parameters.values())
        torch._foreach_lerp_(list(self.averages.values()), parameters, 1 - self.decay)

    def load(self, averages: Mapping[str, Tensor]) -> None:
        for name, average in self.averages.items():
            average.copy_(averages[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network has the averages as its parameters, until the context is left."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, parameter in self.parameters.items():
            parameter.data, self.averages[name] = self.averages[name], parameter.data
