"""The records of a run: a log in JSON lines, TensorBoard, sheets of images, and a plot."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from maskdcpt_cli.files import replacing, shown
from maskdcpt_cli.images.contact_sheets import grid, resized
from maskdcpt_cli.training.events import (
    Event,
    Initialised,
    Notice,
    Pixels,
    Saved,
    Step,
    Validated,
    ValidationImages,
)

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

MAX_LINES = 10_000  # of steps in a log
MAX_POINTS = 500  # of a curve in a plot, each the mean of the values between it and the next
COLUMNS = ("Input", "Output", "Ground truth")
MAX_IMAGES = 5  # of a validation in TensorBoard, whose files keep those of all validations
MAX_SIDE = 256  # of each of them, in pixels

Curve = list[tuple[int, float]]  # iterations and values


class Recorder(Protocol):
    """Something that keeps events."""

    def record(self, event: Event) -> None:
        """Keep an event, if it is of a kind that is kept."""

    def close(self) -> None:
        """Write all that is not written yet."""


class Log:
    """A file of JSON lines; a line of steps holds the means since the line before it.

    A run that resumes from a checkpoint repeats the steps since: their earlier lines are removed.
    """

    def __init__(self, path: Path, *, iterations: int) -> None:
        self.path = path
        self.every = max(1, iterations // MAX_LINES)
        self._steps: list[Step] = []  # since the last line
        self._iteration: int | None = None  # None before the first step

    def record(self, event: Event) -> None:
        if isinstance(event, Step):
            self._record_step(event)
            return
        if self._steps:
            self._flush()
        iteration = getattr(event, "iteration", self._iteration or 0)
        self._write({"iteration": iteration, **_fields(event)})

    def close(self) -> None:
        if self._steps:
            self._flush()

    def _record_step(self, step: Step) -> None:
        if self._iteration is None:
            self._truncate(step.iteration)
        self._iteration = step.iteration
        self._steps.append(step)
        if step.iteration % self.every == 0:
            self._flush()

    def _flush(self) -> None:
        self._write(asdict(mean_step(self._steps)))
        self._steps.clear()

    def _truncate(self, iteration: int) -> None:
        """Remove the lines from an iteration on."""
        kept = [line for line in read_log(self.path) if line["iteration"] < iteration]
        with replacing(self.path) as file:
            file.writelines(f"{json.dumps(line)}\n".encode() for line in kept)

    def _write(self, line: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the complete lines of a log: the last line of a killed process may not be one."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def mean_step(steps: Sequence[Step]) -> Step:
    """Return the last step with the means of all; losses that are not finite are left out.

    The means of speed and of waiting leave out steps of warm-up, if there are others.
    """
    timed = [step for step in steps if not step.warm_up] or steps
    losses = {
        name: _mean(step.losses[name] for step in steps if name in step.losses)
        for name in steps[-1].losses
    }
    return replace(
        steps[-1],
        losses={name: loss for name, loss in losses.items() if loss is not None},
        accuracy=_mean(step.accuracy for step in steps),
        images_per_second=_mean(step.images_per_second for step in timed) or 0.0,
        waited=_mean(step.waited for step in timed) or 0.0,
        warm_up=timed is steps and steps[-1].warm_up,
    )


class TensorBoard:
    """Curves and images for TensorBoard; a run that resumes hides those after its checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: SummaryWriter | None = None

    def record(self, event: Event) -> None:
        if isinstance(event, Step):
            self._write(event.iteration, _step_curves(event))
        elif isinstance(event, Validated):
            self._write(
                event.iteration,
                {
                    f"{metric}/{degradation}": score
                    for degradation, scores in event.scores.items()
                    for metric, score in scores.items()
                },
            )
            for images in event.images[:MAX_IMAGES]:
                self._writer_from(event.iteration).add_image(
                    f"images/{images.degradation}", _row(images), event.iteration,
                    dataformats="HWC",
                )  # fmt: skip

    def close(self) -> None:
        if self._writer:
            self._writer.close()

    def _write(self, iteration: int, curves: dict[str, float]) -> None:
        for name, value in curves.items():
            self._writer_from(iteration).add_scalar(name, value, iteration)

    def _writer_from(self, iteration: int) -> "SummaryWriter":
        """Return the writer, opened by the first call."""
        if not self._writer:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  # slow; optional

            self._writer = SummaryWriter(str(self.folder), purge_step=iteration)
        return self._writer


def open_tensorboard(folder: Path) -> TensorBoard | None:
    """Return the recorder of a folder; None where TensorBoard is not installed.

    Nor is there one for a folder whose name is not UTF-8, which TensorBoard cannot write to.
    """
    usable = find_spec("tensorboard") and shown(folder) == str(folder)
    return TensorBoard(folder) if usable else None


class ImageSheets:
    """A sheet of images for each validation, with a row for each degradation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def record(self, event: Event) -> None:
        if isinstance(event, Validated) and event.images:
            self.folder.mkdir(exist_ok=True)
            with replacing(self.folder / f"{event.iteration:07}.jpg") as file:
                _sheet(event.images).save(file, format="JPEG", quality=90)

    def close(self) -> None:
        """Do nothing: a sheet is complete when it is written."""


def plot(log: Path, target: Path) -> None:
    """Plot the losses and each metric of a log in panels, where matplotlib is installed."""
    panels = read_panels(log)
    if not panels or not find_spec("matplotlib"):
        return
    from matplotlib.figure import Figure  # noqa: PLC0415  # slow, and optional

    figure = Figure(figsize=(9, 3 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axis, (title, curves) in zip(axes, panels.items(), strict=True):
        for name, curve in curves.items():
            iterations, values = zip(*_thinned(curve), strict=True)
            axis.plot(iterations, values, label=name, marker="." if len(curve) < 30 else "")
        axis.set_ylabel(title)
        axis.legend(fontsize="small", ncols=4)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("iteration")
    with replacing(target) as file:
        figure.savefig(file, format="png", dpi=120)


def read_panels(log: Path) -> dict[str, dict[str, Curve]]:
    """Return the curves of a log by panel: "loss", "training accuracy", and each metric."""
    panels: dict[str, dict[str, Curve]] = defaultdict(lambda: defaultdict(list))
    for line in read_log(log):
        for panel, name, value in _values(line):
            panels[panel][name].append((line["iteration"], value))
    return panels


def _fields(event: Initialised | Validated | Saved | Notice) -> dict[str, Any]:
    """Return the fields of an event in a log."""
    match event:
        case Initialised():
            return {"initialised": {**asdict(event), "source": str(event.source)}}
        case Validated():
            thresholds = {"thresholds": dict(event.thresholds)} if event.thresholds else {}
            scores = {
                label: {name: value for name, value in row.items() if isfinite(value)}
                for label, row in event.scores.items()
            }
            return {"scores": scores, "temperature": event.temperature, **thresholds}
        case Saved():
            return {"saved": event.path.name}
        case Notice():
            return {"notice": event.text}


def _mean(numbers: Iterable[float | None]) -> float | None:
    finite = [number for number in numbers if number is not None and isfinite(number)]
    return fmean(finite) if finite else None


def _step_curves(step: Step) -> dict[str, float]:
    curves = {f"loss/{name}": loss for name, loss in step.losses.items()}
    curves |= {"training/lr": step.lr, "training/images per second": step.images_per_second}
    return curves if step.accuracy is None else {**curves, "training/accuracy": step.accuracy}


def _sheet(images: Sequence[ValidationImages]) -> Image.Image:
    rows = [(one.lq, one.output, one.gt) for one in images]
    titles = [one.degradation for one in images]
    return Image.fromarray(grid(rows, column_titles=COLUMNS, row_titles=titles))


def _row(images: ValidationImages) -> Pixels:
    """Return input, output and ground truth side by side, none larger than MAX_SIDE."""
    scale = min(1.0, MAX_SIDE / max(images.gt.shape))
    return np.hstack([resized(one, scale) for one in (images.lq, images.output, images.gt)])


def _values(line: dict[str, Any]) -> list[tuple[str, str, float]]:
    """Return the values of a line of a log, each with its panel and the name of its curve."""
    values = [("loss", name, loss) for name, loss in line.get("losses", {}).items()]
    if line.get("accuracy") is not None:
        values.append(("training accuracy", "all", line["accuracy"]))
    for degradation, scores in line.get("scores", {}).items():
        values += [(metric, degradation, score) for metric, score in scores.items()]
    return values


def _thinned(curve: Curve) -> Curve:
    size = -(-len(curve) // MAX_POINTS)
    groups = [curve[start : start + size] for start in range(0, len(curve), size)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]
