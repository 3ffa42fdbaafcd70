"""The recorders of plugins, for trackers of experiments; their errors do not end a run."""

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from maskdcpt_cli.plugins import Registry
from maskdcpt_cli.training.events import Event, Notice
from maskdcpt_cli.training.recorders import Recorder

StartRecorder = Callable[[Path, Mapping[str, Any]], Recorder]


def check_start(_name: str, row: object) -> None:
    if not callable(row) and not isinstance(row, str):
        raise ValueError("it has to be a function or a class that starts a recorder")


RECORDERS: Registry[StartRecorder] = Registry("RECORDERS", {}, check=check_start)


class Trackers:
    """The recorders of the plugins in use; one that fails is left out from then on."""

    def __init__(self, run_dir: Path, preset: Mapping[str, Any]) -> None:
        """Find them; they start with the run.

        Args:
            run_dir: the folder of the run.
            preset: its settings, as JSON has them.

        Raises:
            MaskDCPTError: for a plugin that cannot be used.
        """
        self._names = tuple(RECORDERS)
        self._run_dir, self._preset = run_dir, preset
        self._recorders: dict[str, Recorder] = {}
        self._failures: list[Notice] = []  # not reported yet

    def track(self, events: Generator[Event, None, None]) -> Generator[Event, None, None]:
        """Yield the events of a run, each after the recorders have it, and a notice of a failure.

        They are closed after the run: it saves first.
        """
        try:
            with closing(events):
                for name in self._names:
                    self._attempt(name, partial(self._start, name))
                yield from self._reported()
                for event in events:
                    for name, recorder in list(self._recorders.items()):
                        self._attempt(name, partial(recorder.record, event))
                    yield event
                    yield from self._reported()
        finally:
            for name, recorder in list(self._recorders.items()):
                self._attempt(name, recorder.close)
        yield from self._reported()

    def _start(self, name: str) -> None:
        self._recorders[name] = RECORDERS[name](self._run_dir, self._preset)

    def _attempt(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # a tracker may raise any
            self._recorders.pop(name, None)
            reason = f"{type(error).__name__}: {error}".rstrip(". ")
            self._failures.append(
                Notice(f"The recorder '{name}' failed, and the run continues without it: {reason}.")
            )

    def _reported(self) -> Generator[Event, None, None]:
        failures, self._failures = self._failures, []
        yield from failures
