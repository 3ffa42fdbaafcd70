"""Batches from worker processes."""

import re
import signal
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread

from torch.utils.data import DataLoader

from maskdcpt_cli.data.mixture import Sample, Samples, stack
from maskdcpt_cli.data.order import SampleKey
from maskdcpt_cli.data.parallel import prepare_worker
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.images.limits import FileLimits, limit_files

# Seconds that a process outlives SIGTERM, if its parent does not stop it. Until then the parent may
# be in a validation or a long step, after which it takes a batch more.
PATIENCE = 3600
LOST = ("DataLoader worker (pid", "Pin memory thread exited")


def load(
    samples: Samples,
    batches: Iterable[list[SampleKey]],
    *,
    workers: int,
    pin_memory: bool = False,
    prefetch: int = 4,
) -> Generator[Sample, None, None]:
    """Yield the batches, loaded by `workers` processes, or by this one if there are none.

    Closing the generator stops the processes. `prefetch` is the number of batches that each worker
    loads ahead.

    Raises MaskDCPTError if most pairs are broken, or if a worker is killed.
    """
    loader = DataLoader(
        samples,
        batch_sampler=batches,
        collate_fn=stack,
        num_workers=workers,
        pin_memory=pin_memory,
        prefetch_factor=prefetch if workers else None,
        worker_init_fn=_start,
    )
    with _handler_of_children():
        iterator = iter(loader)
    try:
        yield from iterator
    except MaskDCPTError as error:  # a worker's comes with its traceback as text before it
        raise MaskDCPTError(re.split(r"(?m)^[\w.]+Error: ", str(error))[-1].strip()) from error
    except RuntimeError as error:
        if not any(words in str(error) for words in LOST):  # but an error of the samples
            raise
        raise MaskDCPTError(
            f"A data loading process was killed, perhaps for lack of memory; use fewer workers. "
            f"({str(error).strip()})"
        ) from error
    finally:  # an error's traceback would keep the iterator, and with it the processes
        getattr(iterator, "_shutdown_workers", lambda: None)()
        for process in getattr(iterator, "_workers", ()):
            process.kill()  # it is still there where its decoder hangs
            process.join()


@contextmanager
def _handler_of_children() -> Iterator[None]:
    """Undo the handler that the first DataLoader installs, which raises in the midst of a step.

    A worker that is lost is noticed as its batch is waited for.
    """
    if sys.platform == "win32" or current_thread() is not main_thread():  # where it installs none
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def _start(_number: int) -> None:
    prepare_worker()
    # Not by the clock, and SIGTERM is handled below: the parent decides.
    limit_files(FileLimits(lambda _name: None, clock=False))
    # Sent to all processes of a job it is for the parent, which saves and then stops this one; one
    # that is left behind goes by itself.
    signal.signal(signal.SIGTERM, lambda _number, _frame: signal.alarm(PATIENCE))
