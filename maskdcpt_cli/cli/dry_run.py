"""What `--dry-run` tells of a run."""

from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path

import click

from maskdcpt_cli.cli.console import duration
from maskdcpt_cli.presets.training import Run
from maskdcpt_cli.training.dry_run import Rehearsed, rehearse
from maskdcpt_cli.training.events import Event
from maskdcpt_cli.training.inputs import Inputs

GIGA = 10**9
COPIES = 2  # of a checkpoint: the last one is kept until the next is complete


def tell(
    preset: Run,
    inputs: Inputs,
    run_dir: Path,
    train: Callable[[Run, Path], Generator[Event, None, None]],
    *,
    speaks: bool,
) -> None:
    """Print what a run would learn from, and what it would take, unless another process does."""

    def echo(text: str) -> None:
        if speaks:
            click.echo(text, err=True)

    for text in _data(inputs):
        echo(text)
    stages: list[Rehearsed] = []
    for one in rehearse(preset, train):
        stages.append(one)
        echo(
            f"{one.stage.iterations} iterations of {one.stage.batch} crops of "
            f"{one.stage.crop_size}: {duration(one.seconds)}, {one.memory / GIGA:.1f} GB of memory"
        )
    disk = COPIES * max(one.disk for one in stages)
    echo(
        f"Together {duration(sum(one.seconds for one in stages))} besides validation, at most "
        f"{max(one.memory for one in stages) / GIGA:.1f} GB of memory for each process, and about "
        f"{disk / GIGA:.1f} GB on disk in {run_dir}."
    )


def _data(inputs: Inputs) -> list[str]:
    lines = []
    for word, ingredients in (("Training", inputs.train), ("Validation", inputs.validation)):
        pairs: Counter[str] = Counter()
        for one in ingredients:
            pairs["+".join(sorted(one.pairs.degradations()))] += len(one.pairs)
        told = ", ".join(f"{name} {count}" for name, count in pairs.items())
        lines.append(f"{word} pairs: {told or 'none'}")
    return lines
