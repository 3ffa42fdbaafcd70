"""Sharing of one list of files among processes that were started together."""

import os
import pickle
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, repeat
from typing import NamedTuple

from torch.distributed import PrefixStore, Store, rendezvous

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.inference.events import Event, Job

POLL_SECONDS = 0.05


class Lost(NamedTuple):
    """A process ended with an error, and its photos have no outcome."""

    rank: int
    reason: str


@dataclass(frozen=True)
class Share:
    """The part of this process. All processes hold the same jobs in the same order."""

    store: Store
    rank: int
    world_size: int

    @classmethod
    def join(cls, rank: int, world_size: int, *, host: str, port: int) -> "Share":
        """Return the part of a process, once all have met at an address."""
        os.environ.update(MASTER_ADDR=host, MASTER_PORT=str(port))
        store, _, _ = next(iter(rendezvous("env://", rank, world_size)))
        return cls(PrefixStore("maskdcpt restore", store), rank, world_size)

    def take(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Yield the jobs of this process: the next free process takes the next job."""
        ordered = list(jobs)
        while (number := self.store.add("taken", 1) - 1) < len(ordered):
            yield ordered[number]

    def gather(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield the events of all processes in the main process; nothing in the others.

        Raises MaskDCPTError in the main process where another one ends with an error.
        """
        if self.rank > 0:
            try:
                for own in events:
                    self._send(own)
            except BaseException as error:
                with suppress(RuntimeError):  # the main process has ended, too
                    self._send(Lost(self.rank, str(error).strip() or type(error).__name__))
                raise
            self._send(None)
            return
        received, working = 0, self.world_size - 1
        for event in chain(events, repeat(None)):
            if event is not None:
                yield event
            elif working:
                time.sleep(POLL_SECONDS)
            else:
                return
            sent = self.store.add("sent", 0)
            for number in range(received, sent):
                message: Event | Lost | None = pickle.loads(self.store.get(str(number)))
                self.store.delete_key(str(number))
                if message is None:
                    working -= 1
                elif isinstance(message, Lost):
                    reason = message.reason.rstrip(".")
                    raise MaskDCPTError(
                        f"Process {message.rank} ended: {reason}. The same command continues with "
                        "the photos that are not restored."
                    )
                else:
                    yield message
            received = sent

    def _send(self, message: Event | Lost | None) -> None:
        number = self.store.add("sent", 1) - 1
        self.store.set(str(number), pickle.dumps(message))  # type: ignore[arg-type]  # bytes do
