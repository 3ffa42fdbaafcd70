"""The report of `--dry-run`."""

from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path

import click

from maskdcpt_cli.cli.console import duration
from maskdcpt_cli.files import shown
from maskdcpt_cli.presets.training import Run
from maskdcpt_cli.training.dry_run import StageEstimate, dry_run
from maskdcpt_cli.training.events import Event
from maskdcpt_cli.training.inputs import Inputs

GIGA = 10**9
COPIES = 2  # of a checkpoint: the last one is kept until the next is complete


def report_dry_run(
    preset: Run,
    inputs: Inputs,
    run_dir: Path,
    train: Callable[[Run, Path], Generator[Event, None, None]],
    *,
    is_main: bool,
) -> None:
    """Print the data of a run and the time, memory and disk it takes, from the main process.

    Args:
        preset: of the run.
        inputs: its images.
        run_dir: the folder of the run, which is not written.
        train: begins a run of a preset in a folder.
        is_main: whether this process prints.
    """

    def echo(text: str) -> None:
        if is_main:
            click.echo(shown(text), err=True)

    for text in _data(inputs):
        echo(text)
    stages: list[StageEstimate] = []
    for one in dry_run(preset, train, run_dir=run_dir):
        stages.append(one)
        echo(
            f"{one.stage.iterations} iterations of {one.stage.batch} crops of "
            f"{one.stage.crop_size}: {duration(one.seconds)}, {one.memory / GIGA:.1f} GB of memory"
        )
    every = preset.training.keep_every
    kept = preset.training.iterations // every if every else 0
    disk = COPIES * max(one.disk for one in stages) + kept * max(one.weights for one in stages)
    echo(
        f"Together {duration(sum(one.seconds for one in stages))} besides validation, at most "
        f"{max(one.memory for one in stages) / GIGA:.1f} GB of memory for each process, and about "
        f"{disk / GIGA:.1f} GB on disk in {shown(run_dir)}."
    )


def _data(inputs: Inputs) -> list[str]:
    lines = []
    for word, entries in (("Training", inputs.train), ("Validation", inputs.validation)):
        pairs: Counter[str] = Counter()
        for one in entries:
            pairs["+".join(sorted(one.pairs.degradations()))] += len(one.pairs)
        counts = ", ".join(f"{name} {count}" for name, count in pairs.items())
        lines.append(f"{word} pairs: {counts or 'none'}")
    return lines
