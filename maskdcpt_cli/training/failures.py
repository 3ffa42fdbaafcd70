"""One process that fails ends all of them, with its reason: none waits for it in vain."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from threading import Event, Thread

import torch.distributed as dist

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.training.distributed import DistributedContext
from maskdcpt_cli.training.launcher import meeting_point, restarts

POLL = 1.0  # seconds between two looks for a failure
GRACE = 10.0  # seconds in which a process may end by itself after another has failed
SAVING = 60.0  # seconds that one which is ending already may take to save
LINGER = 3 * POLL  # seconds in which the process that holds the store lets the others look

_numbers = count()  # of the contexts of this process, which all processes enter in the same order


@contextmanager
def ending_together(distributed: DistributedContext) -> Iterator[Event]:
    """Report an exception within to all processes, and end where another reports one.

    Yields an event to be set before this process saves as it ends: it has the time for it then.

    Raises:
        MaskDCPTError: with the reason of another process that failed, in place of an error that
            follows from it.
    """
    if distributed.world_size == 1:
        yield Event()
        return
    watch = FailureWatch(distributed.rank, name=f"{restarts()}/{next(_numbers)}")
    try:
        yield watch.ending
    except BaseException as error:
        watch.ending.set()
        reason = watch.reason()
        if reason is None:
            watch.report(error)
        elif isinstance(error, Exception) and not isinstance(error, MaskDCPTError):
            raise MaskDCPTError(reason) from error
        raise
    finally:
        watch.stop()


class FailureWatch:
    """A look, once a second, at whether another process failed.

    A process that waits for another on a GPU cannot be interrupted: it is ended from a thread.
    """

    def __init__(self, rank: int, *, name: str) -> None:
        self.rank = rank
        self.key = f"maskdcpt/failure/{name}"
        self.store = open_store()
        self.ending = Event()  # whether this process ends already
        self.done = Event()
        self.thread = Thread(target=self._watch, args=(open_store(),), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Look no more: a thread within the store as Python ends would abort the process."""
        self.done.set()
        self.thread.join()

    def reason(self) -> str | None:
        """Return the reason of another process; None where none has failed."""
        return _reason(self.store, self.key)

    def report(self, error: BaseException) -> None:
        """Tell the others why this process ends."""
        if isinstance(error, (GeneratorExit, KeyboardInterrupt)):
            words = "was stopped"
        else:
            words = f"failed: {' '.join(str(error).split()) or type(error).__name__}"
        try:
            self.store.set(self.key, f"Process {self.rank} {words}")
        except RuntimeError:  # the process that holds the store has gone: all know
            return
        if self.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
            time.sleep(LINGER)

    def _watch(self, store: dist.Store) -> None:
        while not self.done.wait(POLL):
            reason = _reason(store, self.key)
            if reason is None:
                continue
            if self.done.wait(GRACE) or (self.ending.is_set() and self.done.wait(SAVING)):
                return
            sys.stderr.write(f"Error: {reason}\n")
            sys.stderr.flush()
            os._exit(1)


def open_store() -> dist.Store:
    """Connect to the store of the processes; each thread has a connection of its own."""
    host, port = meeting_point()
    return dist.TCPStore(host, port, is_master=False, timeout=timedelta(seconds=60))


def _reason(store: dist.Store, key: str) -> str | None:
    try:
        return store.get(key).decode() if store.check([key]) else None
    except RuntimeError:  # torch's DistNetworkError among them
        return "Process 0 ended without a reason."
