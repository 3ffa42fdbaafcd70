"""What happened in a run, a line of JSON each, and how the steps between two lines are averaged."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from maskdcpt_cli.files import replacing
from maskdcpt_cli.training.events import Event, Initialised, Notice, Saved, Step, Validated

LINES = 10_000  # of steps, at most


class Log:
    """The file; a line tells the means of the steps since the line before it.

    A run that goes on from a checkpoint repeats the steps since: their lines of before are cut off.
    """

    def __init__(self, path: Path, *, iterations: int) -> None:
        self.path = path
        self.every = max(1, iterations // LINES)
        self._steps: list[Step] = []  # since the last line
        self._iteration: int | None = None  # None: no step was seen yet

    def keep(self, event: Event) -> None:
        if isinstance(event, Step):
            self._step(event)
            return
        if self._steps:
            self._flush()
        iteration = self._iteration or 0
        match event:
            case Initialised():
                told = {**asdict(event), "source": str(event.source)}
                self._write({"iteration": iteration, "initialised": told})
            case Validated():
                told = {"scores": event.scores, "temperature": event.temperature}
                self._write({"iteration": iteration, **told})
            case Saved():
                self._write({"iteration": iteration, "saved": event.path.name})
            case Notice():
                self._write({"iteration": iteration, "notice": event.text})

    def close(self) -> None:
        """Write what was not averaged yet."""
        if self._steps:
            self._flush()

    def _step(self, step: Step) -> None:
        if self._iteration is None:
            self._cut(step.iteration)
        self._iteration = step.iteration
        self._steps.append(step)
        if step.iteration % self.every == 0:
            self._flush()

    def _flush(self) -> None:
        self._write(asdict(mean(self._steps)))
        self._steps.clear()

    def _cut(self, iteration: int) -> None:
        """Leave only the lines of before an iteration."""
        kept = [line for line in read_log(self.path) if line["iteration"] < iteration]
        with replacing(self.path) as file:
            file.writelines(f"{json.dumps(line)}\n".encode() for line in kept)

    def _write(self, line: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log that are whole: where a process was killed, the last one may not be."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def mean(steps: Sequence[Step]) -> Step:
    """The last of some steps, with the means of all; losses that are no numbers are left out."""
    losses = {
        name: _mean(step.losses[name] for step in steps if name in step.losses)
        for name in steps[-1].losses
    }
    return replace(
        steps[-1],
        losses={name: loss for name, loss in losses.items() if loss is not None},
        accuracy=_mean(step.accuracy for step in steps),
        images_per_second=_mean(step.images_per_second for step in steps) or 0.0,
        waited=_mean(step.waited for step in steps) or 0.0,
    )


def _mean(numbers: Iterable[float | None]) -> float | None:
    finite = [number for number in numbers if number is not None and isfinite(number)]
    return fmean(finite) if finite else None
