"""The exponential moving average of a model's parameters (Sec. V-C)."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def exponential_average(model: nn.Module, *, decay: float) -> AveragedModel:
    """Return the exponential moving average of a model's parameters, beginning with its own.

    After each step: average = decay * average + (1 - decay) * parameters.
    """
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
    average.n_averaged += 1  # else the first update would replace the initial weights
    return average


@torch.no_grad()
def update_if(updated: Tensor, average: AveragedModel, model: nn.Module, *, decay: float) -> None:
    """Update the average if a truth value on the device says so, without waiting for it.

    Where it is false, nothing changes. `AveragedModel.update_parameters` reads a counter back.
    """
    averages = [parameter.detach() for parameter in average.module.parameters()]
    change = torch._foreach_sub([p.detach() for p in model.parameters()], averages)
    torch._foreach_mul_(change, updated * (1 - decay))
    torch._foreach_add_(averages, change)
