"""The arithmetic of fp32 on CUDA: fp32 itself, or TF32, which keeps 10 bits of each factor."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import torch

_LOCK = RLock()


@contextmanager
def tf32(*, allowed: bool) -> Iterator[None]:
    """Compute convolutions and matrix products of fp32 tensors in TF32 within the context, or not.

    PyTorch's default is TF32 for convolutions and fp32 for matrix products. The settings belong to
    the process: one thread at a time is within the context, and they are restored after it.
    """
    with _LOCK, _set(allowed=allowed):
        yield


@contextmanager
def _set(*, allowed: bool) -> Iterator[None]:
    cudnn = torch.backends.cudnn
    try:
        before = cudnn.allow_tf32, torch.get_float32_matmul_precision()
    except RuntimeError:  # a program set them by their newer names, and then these cannot be read
        with _newer_names("tf32" if allowed else "ieee"):
            yield
        return
    cudnn.allow_tf32 = allowed
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    try:
        yield
    finally:
        cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])


@contextmanager
def _newer_names(precision: str) -> Iterator[None]:
    conv = torch.backends.cudnn.conv  # type: ignore[attr-defined]  # since PyTorch 2.9
    operators = (conv, torch.backends.cuda.matmul)
    before = [operator.fp32_precision for operator in operators]
    for operator in operators:
        operator.fp32_precision = precision
    try:
        yield
    finally:
        for operator, setting in zip(operators, before, strict=True):
            operator.fp32_precision = setting
