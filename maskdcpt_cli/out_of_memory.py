"""Recognition of a lack of memory, which every runtime reports in words of its own."""

import torch

# Parts of messages of errors that have no type of their own, in lower case.
MESSAGES = (
    "out of memory",  # the CUDA driver, PyTorch's allocators on CUDA and MPS, Triton
    "cudaerrormemoryallocation",
    "cuda_error_out_of_memory",
    "_status_alloc_failed",  # cuDNN, cuBLAS
    "device_allocation_failed",  # cuDNN 9
    "host_allocation_failed",
    "not enough memory",  # PyTorch on the CPU
    "allocate memory",  # "can't" and "failed to": PyTorch on the CPU, ONNX Runtime, Linux
    "could not create a memory",  # oneDNN
    "bad_alloc",  # OpenVINO, ONNX Runtime
    "bad allocation",
    "insufficient memory",  # OpenCV
    "unable to find an engine",  # cuDNN, where no algorithm of a convolution has room to work
)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return any(message in text for message in MESSAGES)
