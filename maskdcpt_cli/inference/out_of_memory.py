"""Recognition of a lack of memory, which every runtime reports in words of its own."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from maskdcpt_cli.errors import BackendError

Result = TypeVar("Result")
AnyModule = TypeVar("AnyModule", bound=nn.Module)

# Parts of messages of errors that have no type of their own, in lower case.
MESSAGES = (
    "out of memory",  # the CUDA driver, PyTorch's allocators on CUDA and MPS, Triton
    "cudaerrormemoryallocation",
    "cuda_error_out_of_memory",
    "_status_alloc_failed",  # cuDNN, cuBLAS
    "device_allocation_failed",  # cuDNN 9
    "host_allocation_failed",
    "not enough memory",  # PyTorch on the CPU
    "can't allocate memory",
    "could not create a memory",  # oneDNN
    "bad_alloc",  # OpenVINO, ONNX Runtime
    "bad allocation",
    "failed to allocate memory",
    "insufficient memory",  # OpenCV
)


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


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return any(message in text for message in MESSAGES)
