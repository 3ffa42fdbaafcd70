"""Copies between host memory and the device of a network."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

DTYPES = {
    np.dtype(np.uint8): torch.uint8,
    np.dtype(np.uint16): torch.uint16,
    np.dtype(np.float32): torch.float32,
}
Mark = torch.cuda.Event | None  # None where work is done when its call returns


class Transfer:
    """Copies between host memory and one device.

    On CUDA they go through pinned memory. Uploads are made while the network computes; what is
    queued `beside` it, downloads among it, does not wait for later work of the network.
    """

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self._streams = self.device.type == "cuda"
        if self._streams:
            self._uploads = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            self._beside = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]

    def upload(self, array: NDArray[Any]) -> Tensor:
        """Return a copy on the device of an array of a type of `DTYPES`, without waiting for it."""
        staged = torch.empty(array.shape, dtype=DTYPES[array.dtype], pin_memory=self._streams)
        staged.numpy()[...] = array
        if not self._streams:
            return staged.to(self.device)
        with torch.cuda.stream(self._uploads):
            copy = staged.to(self.device, non_blocking=True)
        reader = torch.cuda.current_stream(self.device)
        reader.wait_stream(self._uploads)
        copy.record_stream(reader)  # or its memory might be used again too early
        return copy

    def fetch(self, tensor: Tensor) -> Callable[[], NDArray[Any]]:
        """Begin to copy a tensor to host memory; the function waits for the copy and returns it."""
        if self._streams:
            tensor = (
                tensor.contiguous()
            )  # the copy of another goes through pageable memory, and waits
        host = tensor.to("cpu", non_blocking=self._streams)  # pinned, if it comes from CUDA
        mark = self.mark()

        def wait() -> NDArray[Any]:
            if mark is not None:
                mark.synchronize()
            array: NDArray[Any] = host.numpy()
            return array

        return wait

    def mark(self) -> Mark:
        """Return the point that the work queued on the device has reached."""
        if not self._streams:
            return None
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return event

    @contextmanager
    def beside(self, mark: Mark, tensor: Tensor) -> Iterator[None]:
        """Queue work on `tensor`, which is there at `mark`, beside the work of the network."""
        if mark is None:
            yield
            return
        with torch.cuda.stream(self._beside):
            self._beside.wait_event(mark)
            tensor.record_stream(self._beside)
            yield


@cache
def transfer_to(device: str) -> Transfer:
    """Return the copies of a device, whose streams all engines share."""
    return Transfer(device)
