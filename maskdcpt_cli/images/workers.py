"""Worker processes, which may end with the file that they read."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from threading import Condition
from types import TracebackType
from typing import ParamSpec, TypeVar, cast

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.messages import FileBegun, Raised, Request, receive, send

if sys.platform == "linux":
    import fcntl

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Lent = TypeVar("Lent", bound="Closable")

PROGRAM = "maskdcpt_cli.images.worker_main"
PIPE = 1 << 20  # bytes
START = 0.1  # seconds; a busy worker that is idle by then is there sooner than a new one
PATIENCE = 10  # seconds that a worker has to remove what it has half written
ADVICE = "leave it out, or save it again with another program"
CLOCK_SIGNALS = {name for name in ("SIGXCPU", "SIGALRM") if hasattr(signal, name)}
TIMED_OUT = {-signal.Signals[name] for name in CLOCK_SIGNALS} or {1}  # as faulthandler exits
KILLED = -getattr(signal, "SIGKILL", 0)


class WorkerLost(ImageError):
    """A worker process ended in the midst of a call.

    Attributes:
        file: The name of the file that was read then; "" if none was.
        status: The exit status of the process, as of `subprocess`.
    """

    def __init__(self, file: str, status: int) -> None:
        text = f"A process that works on images ended with status {status}."
        if status == KILLED:
            text = "A process that works on images was killed, perhaps for lack of memory."
        if file:
            text = f"{file} cannot be read: {_reason(status)}; {ADVICE}."
        super().__init__(text)
        self.file, self.status = file, status


def _reason(status: int) -> str:
    if status in TIMED_OUT:
        return "decoding it takes too long"
    if status == KILLED:
        return "the system ended its decoder, as for want of memory"
    return "its decoder crashed"


class Worker:
    """A process that calls functions, one at a time."""

    def __init__(self, imported: str) -> None:
        path = [entry for entry in sys.path if isinstance(entry, str)]  # Python ignores others
        program = (
            f"import sys; sys.path[:] = {path!r}; import {imported}, {PROGRAM} as program; "
            "program.main()"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the parent, which stops it
        )
        for name in ("stdin", "stdout"):
            _enlarge(self._stream(name))

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def call(
        self,
        function: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **options: Arguments.kwargs,
    ) -> Result:
        """Return the result of a function, which is importable by its name, or raise its error.

        Raises WorkerLost if the process ends before.
        """
        file = ""
        try:
            send(self._stream("stdin"), Request(_folder(), function, arguments, options))
            while isinstance(answer := receive(self._stream("stdout")), FileBegun):
                file = answer.name
        except (EOFError, OSError) as error:
            raise WorkerLost(file, self.end()) from error
        except BaseException:  # Ctrl-C: the answer is not waited for
            self.kill()
            raise
        if isinstance(answer, Raised):
            raise answer.error from RuntimeError(answer.traceback)
        return cast(Result, answer.result)

    def stop(self) -> None:
        """Ask the process to leave, when it has removed what it has half written."""
        self._process.terminate()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self.end()

    def wait(self) -> int:
        """Return the exit status of the process, which is killed if it does not leave."""
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def end(self) -> int:
        """Wait as `wait` does, and let go of the process."""
        status = self.wait()
        for name in ("stdin", "stdout"):
            self._stream(name).close()
        return status

    def _stream(self, name: str) -> FileIO:
        return cast(FileIO, getattr(self._process, name))


def _enlarge(pipe: FileIO) -> None:
    """Let a pipe hold `PIPE` bytes, where the system has room: a user may have 64 MiB in all."""
    if sys.platform == "linux":
        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)


def _folder() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # it was removed
        return ""


class Closable:
    """What ends its processes when it is closed, as a `with` block does at its end."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self: Lent) -> Lent:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()


@contextmanager
def lent(given: Lent | None, new: Callable[[], Lent]) -> Iterator[Lent]:
    """Yield what is given, or a new one, which is closed at the end.

    On an error, Ctrl-C or the early end of a generator, either is closed: no thread works on. What
    is wrong with one file closes nothing.
    """
    if given is None:
        with new() as own:
            yield own
        return
    try:
        yield given
    except ImageError:
        raise
    except BaseException:
        given.close()
        raise


class WorkerPool(Closable):
    """Workers for any number of threads; closing it ends what they do.

    A worker that is lost is replaced at the next call.

    Args:
        imported: The module of the functions that will be called; workers import it first.
    """

    def __init__(self, imported: str) -> None:
        self._imported = imported
        self._changed = Condition()
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._closed = False

    @property
    def is_closed(self) -> bool:
        return self._closed

    def start(self, count: int = 1) -> None:
        """Start workers ahead of the first calls, until there are so many."""
        with self._changed:
            missing = count - len(self._idle) - len(self._busy)
            self._idle += [Worker(self._imported) for _ in range(missing)]

    def call(
        self,
        function: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **options: Arguments.kwargs,
    ) -> Result:
        """Return what `Worker.call` returns, of an idle worker or a new one.

        Raises WorkerLost, also once the pool is closed.
        """
        worker = self._take()
        try:
            return worker.call(function, *arguments, **options)
        finally:
            self._give_back(worker)

    def close(self) -> None:
        """Stop all workers, also in the midst of a call, which then raises WorkerLost."""
        with self._changed:
            self._closed = True
            idle, busy = self._idle, list(self._busy)
            self._idle = []
            self._changed.notify_all()
        for worker in busy:
            worker.stop()
        for worker in idle:
            worker.kill()
        for worker in busy:
            worker.wait()  # its caller ends it

    def _take(self) -> Worker:
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self._closed or not self._busy, START)
            if self._closed:
                raise WorkerLost("", 0)
            worker = next(self._running(), None) or Worker(self._imported)
            self._busy.add(worker)
            return worker

    def _running(self) -> Iterator[Worker]:
        """Yield idle workers, which are removed; those that have ended are dropped."""
        while self._idle:
            worker = self._idle.pop()
            if worker.is_running:
                yield worker
            else:
                worker.end()

    def _give_back(self, worker: Worker) -> None:
        with self._changed:
            self._busy.discard(worker)
            if worker.is_running and not self._closed:
                self._idle.append(worker)
                self._changed.notify()
                return
        worker.kill()
