"""The errors that say that memory ran out, and others that sound like them."""

import pytest
import torch

from maskdcpt_cli.out_of_memory import MESSAGES, is_out_of_memory

LACKING = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA"),
    OSError(12, "Cannot allocate memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    RuntimeError("could not create a memory object"),
    RuntimeError("Exception from src/inference/src/cpp/infer_request.cpp: std::bad_alloc"),
    RuntimeError("bad allocation"),
    Exception("Failed to allocate memory for requested buffer of size 9"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
    RuntimeError("CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY"),
    RuntimeError("cudaErrorMemoryAllocation"),
    RuntimeError("Triton Error [CUDA]: out of memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.06 GB, max allowed: 9.07 GB)."),
    Exception("OpenCV(4.13.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 9"),
]


@pytest.mark.parametrize("error", LACKING, ids=lambda error: str(error)[:36])
def test_a_lack_of_memory_is_recognised_by_type_or_message(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_every_message_is_tried() -> None:
    texts = [str(error).lower() for error in LACKING]
    assert not [message for message in MESSAGES if not any(message in text for text in texts)]


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: an illegal memory access was encountered",
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`",
        "Unsupported memory format option Preserve",
    ],
)
def test_other_errors_of_a_gpu_are_not_taken_for_a_lack_of_memory(message: str) -> None:
    assert not is_out_of_memory(RuntimeError(message))
