"""A run, from its preset and its images to its folder."""

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TypeVar

from maskdcpt_cli.presets.training import Run
from maskdcpt_cli.training.distributed import is_main, restarted
from maskdcpt_cli.training.events import Event
from maskdcpt_cli.training.inputs import TrainingData, samples_of
from maskdcpt_cli.training.loop import Stop
from maskdcpt_cli.training.run_folder import begin, check_resumable, record

Preset = TypeVar("Preset", bound=Run)
Events = Generator[Event, None, None]


def launch(
    train: Callable[..., Events],
    preset: Preset,
    data: TrainingData,
    run_dir: Path,
    *,
    kind: str,
    resume: bool,
    micro_batch: int | None,
    device: str | None,
    command: Sequence[str],
    stop: Stop,
) -> Events:
    """Open what a run needs, begin its folder, and return its events; see `pretrain`."""
    resume, name = resume or restarted(), preset.name
    if is_main():
        check_resumable(run_dir, preset, resume=resume)
    inputs = data.open(preset.data)
    events = train(
        preset, samples_of(preset, data, inputs), run_dir,
        validation=inputs.validation, name=name and Path(name).stem, resume=resume,
        micro_batch=micro_batch, device=device, stop=stop,
    )  # fmt: skip
    if not is_main():
        return events
    begin(run_dir, preset, name=name, kind=kind, command=command, resume=resume)
    return record(events, run_dir, iterations=preset.training.iterations)
