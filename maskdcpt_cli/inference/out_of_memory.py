"""What follows a lack of memory: empty caches, and None or a sentence in place of a result."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from maskdcpt_cli.errors import BackendError
from maskdcpt_cli.out_of_memory import is_out_of_memory

Result = TypeVar("Result")
AnyModule = TypeVar("AnyModule", bound=nn.Module)


def unless_out_of_memory(run: Callable[[], Result]) -> Result | None:
    """Return the result of a call, or None where memory ran out; caches are empty then."""
    try:
        return run()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # Outside the handler, whose traceback keeps the tensors of the call. Blocks that an allocator
    # cached for the larger tile would not be reused.
    torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    return None


def moved(network: AnyModule, device: str) -> AnyModule:
    """Return a network on a device; BackendError where there is no room for it."""

    def move() -> AnyModule:
        network.to(device)
        return network

    found = unless_out_of_memory(move)
    if found is None:
        raise BackendError(
            f"There is not enough memory on '{device}' for the network: use --device cpu, or wait "
            "until there is."
        )
    return found
