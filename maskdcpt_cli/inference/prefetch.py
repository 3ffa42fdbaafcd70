"""Prefetching: read the next items while the current one is processed."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

import torch

from maskdcpt_cli.data.parallel import processors

Item = TypeVar("Item")
Read = TypeVar("Read")

# Of the pixels of photos that are read, restored or written at a time, with their results; at most
# the last photo begins above it. 24 photos of 12 megapixels and 8 bits.
BYTES_IN_FLIGHT = 2_000_000_000
PIXEL_BYTES = 10  # decoded, at most, for a byte of most files; 7 to 12 of a phone's JPEG


def prefetch(
    executor: Executor,
    read: Callable[[Item], Read],
    items: Iterable[Item],
    *,
    ahead: int = 1,
    room: Callable[[], bool] = lambda: True,
) -> Iterator[tuple[Item, Future[Read]]]:
    """Yield the items in order with the future of each, while `ahead` more are being read.

    Without `room` for another one, those that were begun come first.
    """
    reading: deque[tuple[Item, Future[Read]]] = deque()
    for item in items:
        reading.append((item, executor.submit(read, item)))
        while len(reading) > ahead or (reading and not room()):
            yield reading.popleft()
    yield from reading


def threads_for(device: str) -> int:
    """Return how many threads read, and how many write, while a network runs on a device.

    On a GPU they share the cores of this process; on the CPU the network needs the cores.
    """
    cores = processors() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # of torchrun
    return max(1, cores // (4 if torch.device(device).type == "cpu" else 2))


class InFlight:
    """The bytes of the items that are read, processed or written."""

    def __init__(self, limit: int = BYTES_IN_FLIGHT) -> None:
        self._limit = limit
        self._bytes: dict[object, int] = {}
        self._largest = 0

    def begin(self, item: object, *, file_bytes: int) -> None:
        """Add an item that is not read yet, as the largest one so far or by its file."""
        self._bytes[item] = max(self._next, PIXEL_BYTES * file_bytes)

    def measured(self, item: object, size: int) -> None:
        """Set the bytes of an item that has been read."""
        self._bytes[item] = size
        self._largest = max(self._largest, size)

    def end(self, item: object) -> None:
        self._bytes.pop(item, None)

    def room(self) -> bool:
        """Return whether another item as large as the largest one fits."""
        return sum(list(self._bytes.values())) + self._next <= self._limit

    @property
    def _next(self) -> int:
        """Bytes that the next item is taken for; half of the limit at most, or one that is huge
        would keep all later ones apart."""
        return min(self._largest, self._limit // 2)
