"""Prefetching: read the next item while the current one is processed."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")


def prefetch(
    executor: Executor, read: Callable[[Item], Read], items: Iterable[Item]
) -> Iterator[tuple[Item, Future[Read]]]:
    """Yield the items in order with the future of each, while the next one is being read."""
    reading: deque[tuple[Item, Future[Read]]] = deque()
    for item in items:
        reading.append((item, executor.submit(read, item)))
        if len(reading) > 1:
            yield reading.popleft()
    yield from reading
