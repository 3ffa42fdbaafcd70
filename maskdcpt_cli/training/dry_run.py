"""A few iterations of each stage of a run, to estimate the time and memory of the whole."""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

from maskdcpt_cli.presets.training import Finetune, Run, Stage
from maskdcpt_cli.training.events import Event, Step

ITERATIONS = 5  # of each stage
WARM_UP = 2  # of them, which compile, and fill the queues of data

AnyRun = TypeVar("AnyRun", bound=Run)


class StageEstimate(NamedTuple):
    """The resources that a stage of a run takes."""

    stage: Stage
    seconds: float  # of the stage, without validation
    memory: int  # peak bytes of a process, or of its GPU
    disk: int  # bytes in the run folder at the end, without kept weights
    weights: int  # bytes of a file of weights


def dry_run(
    preset: AnyRun,
    train: Callable[[AnyRun, Path], Generator[Event, None, None]],
    *,
    run_dir: Path,
) -> Iterator[StageEstimate]:
    """Train each stage for a few iterations in a temporary folder.

    Args:
        preset: of the run.
        train: begins a run of a preset in a folder.
        run_dir: the folder of the run, on whose disk the temporary one is.

    Yields:
        An estimate for each stage.
    """
    there = _on_disk_of(run_dir.absolute())
    for stage in preset.training.stages:
        with TemporaryDirectory(prefix=".maskdcpt-", dir=there) as name:
            folder = Path(name)
            with closing(train(_shortened(preset, stage), folder)) as events:
                steps = [event for event in events if isinstance(event, Step)]
            seconds = median(step.batch / step.images_per_second for step in steps[WARM_UP:])
            sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
            kept = [size for path, size in sizes.items() if path.suffix == ".safetensors"]
            weights = max(kept, default=0)  # which the main process alone writes
        memory = max(step.memory for step in steps)
        yield StageEstimate(stage, stage.iterations * seconds, memory, sum(sizes.values()), weights)


def _on_disk_of(run_dir: Path) -> Path:
    """Return a folder on the disk of a run: beside its folder, or that where nothing may be beside.

    Of a folder that is not there yet it is the nearest one that is.
    """
    if not run_dir.is_dir():
        return next(folder for folder in run_dir.parents if folder.is_dir())
    beside = run_dir.resolve().parent
    is_same = beside.stat().st_dev == run_dir.stat().st_dev
    return beside if is_same and os.access(beside, os.W_OK) else run_dir


def _shortened(preset: AnyRun, stage: Stage) -> AnyRun:
    short = stage.model_copy(update={"iterations": ITERATIONS})
    training = preset.training.model_copy(update={"stages": (short,)})
    validation = preset.validation.model_copy(update={"images": 1})
    update: dict[str, object] = {"training": training, "validation": validation}
    if isinstance(preset, Finetune) and preset.conductance:
        least = {"images": 1, "steps": 1}
        update["conductance"] = preset.conductance.model_copy(update=least)
    return preset.model_copy(update=update)
