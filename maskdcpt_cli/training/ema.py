"""The exponential moving average of a model's parameters (ours: the paper prints none)."""

import torch
from torch import Tensor, nn


class ExponentialAverage:
    """The exponential moving average of a model's parameters, beginning with their values.

    After each update: average = average + (1 - decay) * (parameter - average).
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.parameters = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, *, when: Tensor) -> None:
        """Update the averages if a truth value on their device says so, without waiting for it."""
        averages = list(self.parameters.values())
        change = torch._foreach_sub([p.detach() for p in model.parameters()], averages)
        torch._foreach_mul_(change, when * (1 - self.decay))
        torch._foreach_add_(averages, change)
