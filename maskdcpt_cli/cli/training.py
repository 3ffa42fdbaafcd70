"""The options of `maskdcpt pretrain` and `maskdcpt finetune`, and a run from them."""

import json
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskdcpt_cli.cli.completions import NameIn, any_of, complete_preset, complete_type
from maskdcpt_cli.cli.options import (
    Decorator,
    architecture_option,
    device_option,
    max_pixels_option,
    pairs_option,
    photos_option,
    training_data_root_option,
)
from maskdcpt_cli.cli.paths import FILE, NEW_FOLDER
from maskdcpt_cli.cli.stopping import INTERRUPTED, stopping
from maskdcpt_cli.degradations import LABELS, SETTINGS, find
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import shown
from maskdcpt_cli.models import BACKBONES
from maskdcpt_cli.training.launcher import launched

if TYPE_CHECKING:
    from maskdcpt_cli.presets.training import Run
    from maskdcpt_cli.training.events import Event
    from maskdcpt_cli.training.inputs import Inputs, TrainingData

LAUNCH = launched()
PROCESSES, IS_MAIN_PROCESS = LAUNCH.world_size, LAUNCH.rank == 0


@dataclass(frozen=True)
class TrainingOptions:
    """The values of OPTIONS."""

    preset: str
    backbone: str | None
    architecture: str | None
    init_from: Path | None
    overrides: tuple[str, ...]
    data_root: Path | None
    pairs: tuple[tuple[Path, Path], ...]
    types: tuple[str, ...]
    photos: Path | None
    setting: str | None
    run_dir: Path | None
    resume: bool
    dry_run: bool
    micro_batch: int | None
    max_pixels: int | None
    device: str


OPTIONS: tuple[Decorator, ...] = (
    click.option(
        "--preset", required=True, metavar="NAME|FILE", shell_complete=complete_preset,
        help="A preset that `maskdcpt presets` lists, or a file of that form.",
    ),
    click.option(
        "--backbone", metavar="NAME",
        shell_complete=any_of(BACKBONES),
        help="The network.  [default: the preset's]",
    ),
    architecture_option,
    click.option(
        "--init-from", metavar="FILE", type=FILE,
        help="Weights to begin with, as `maskdcpt pretrain` writes them.",
    ),
    click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE",
        help="Override a value of the preset, as training.iterations=2000; may be given again.",
    ),
    training_data_root_option,
    pairs_option("Train on your own pairs", multiple=True),
    click.option(
        "--type", "types", multiple=True, metavar="TYPE", shell_complete=complete_type,
        help="Degradation of --pairs, as haze; needed where the setting has several.",
    ),
    photos_option("Train on your own clean photos, degraded as they are read."),
    click.option(
        "--setting", type=NameIn(lambda: SETTINGS),
        help="Degradations of --photos and --pairs.  [default: the preset's]",
    ),
    click.option(
        "--run-dir", metavar="FOLDER", type=NEW_FOLDER,
        help="Folder of the run.  [default: runs/COMMAND-PRESET]",
    ),
    click.option("--resume", is_flag=True, help="Continue the run in --run-dir."),
    click.option(
        "--dry-run", is_flag=True,
        help="Only check everything, and estimate the time and memory of the run.",
    ),
    click.option(
        "--micro-batch", metavar="N", type=click.IntRange(min=1),
        help="Images that go through the network at once, to save memory; the batch stays the "
        "preset's.  [default: all of a process]",
    ),
    max_pixels_option,
    device_option,
)  # fmt: skip


def run(preset: "Run", requested: TrainingOptions, *, kind: str) -> None:
    """Train by a resolved preset, and show the run.

    Args:
        preset: resolved, with all overrides.
        requested: the options of the command.
        kind: "pretrain" or "finetune".

    Raises:
        KeyboardInterrupt: with a sentence of how many iterations are done.
    """
    from maskdcpt_cli.cli.console import message_console, say
    from maskdcpt_cli.cli.training_view import View, open_view, show
    from maskdcpt_cli.presets.training import Finetune
    from maskdcpt_cli.training.events import Notice
    from maskdcpt_cli.training.finetune import finetune
    from maskdcpt_cli.training.pretrain import pretrain

    data = training_data(requested, preset.data)
    run_dir = requested.run_dir or Path("runs", f"{kind}-{Path(requested.preset).stem}")
    if requested.dry_run:
        from maskdcpt_cli.cli.dry_run import report_dry_run

        inputs = data.open(preset.data)
        train = partial(_train, data=data, inputs=inputs, requested=requested)
        report_dry_run(preset, inputs, run_dir, train, is_main=IS_MAIN_PROCESS)
        return
    runs: dict[str, Callable[..., Generator[Event, None, None]]] = {
        "pretrain": pretrain,
        "finetune": finetune,
    }
    measured = isinstance(preset, Finetune) and preset.conductance and not requested.resume
    if IS_MAIN_PROCESS and measured:
        say(message_console(), "The conductance of the layers is measured before the training.")
    with stopping() as stop:
        events = runs[kind](
            preset, data, run_dir, resume=requested.resume, micro_batch=requested.micro_batch,
            device=_device(requested), command=sys.argv[1:], stop=stop,
        )  # fmt: skip
        view = open_view() if IS_MAIN_PROCESS else View()
        view.event(Notice(_sizes(preset, requested)))
        last = show(events, view)
    if last and last.iteration < last.iterations:
        if not IS_MAIN_PROCESS:
            click.get_current_context().exit(INTERRUPTED)
        raise KeyboardInterrupt(
            f"Interrupted: {last.iteration} of {last.iterations} iterations are done and saved in "
            f"{shown(run_dir)}; the same command with --resume continues from there."
        )


def load_run(kind: str, requested: TrainingOptions) -> "Run":
    """Return the preset with the values of --set, --backbone, --architecture and --init-from."""
    from maskdcpt_cli.presets.training import load_preset

    given = {"backbone": requested.backbone, "initialise_from": requested.init_from}
    overrides = [
        *requested.overrides,
        *(f"{key}={json.dumps(str(value))}" for key, value in given.items() if value),
    ]
    preset = load_preset(kind, requested.preset, overrides=overrides)
    if requested.architecture is None:
        return preset
    overrides.append(preset.override_of(requested.architecture))
    return load_preset(kind, requested.preset, overrides=overrides)


def _train(
    preset: "Run",
    run_dir: Path,
    *,
    data: "TrainingData",
    inputs: "Inputs",
    requested: TrainingOptions,
) -> "Generator[Event, None, None]":
    """Return the events of a run without logs; for a dry run."""
    from maskdcpt_cli.presets.training import Finetune, Pretrain
    from maskdcpt_cli.training import finetune, pretrain
    from maskdcpt_cli.training.inputs import samples_of

    options: dict[str, Any] = {
        "validation": inputs.validation,
        "micro_batch": requested.micro_batch,
        "device": _device(requested),
    }
    samples = samples_of(preset, data, inputs)
    if isinstance(preset, Pretrain):
        return pretrain.train(preset, samples, run_dir, **options)
    assert isinstance(preset, Finetune)
    return finetune.train(preset, samples, run_dir, **options)


def _device(requested: TrainingOptions) -> str | None:
    return None if requested.device == "auto" else requested.device


def _sizes(preset: "Run", requested: TrainingOptions) -> str:
    """Return a sentence about the iterations and batches of a run."""
    batches = [stage.batch for stage in preset.training.stages]
    message = f"{preset.backbone}, {preset.training.iterations} iterations; batch "
    message += ", then ".join(str(batch) for batch in dict.fromkeys(batches))
    message += f", divided among {PROCESSES} processes" if PROCESSES > 1 else ""
    return message + (f", {requested.micro_batch} at once" if requested.micro_batch else "")


def training_data(requested: TrainingOptions, preset: str) -> "TrainingData":
    """Return the images to train on: pairs, photos, or the data sets of that data preset."""
    from maskdcpt_cli.presets.load import load_data
    from maskdcpt_cli.training.inputs import TrainingData

    if requested.pairs and requested.photos:
        raise click.UsageError("Give either --pairs or --photos.")
    if requested.types and not requested.pairs:
        raise click.UsageError("--type is the degradation of --pairs, and there are none.")
    if requested.setting and not (requested.pairs or requested.photos):
        raise click.UsageError("--setting goes with --photos or --pairs; a preset has its own.")
    setting = requested.setting or (load_data(preset).setting if requested.pairs else "")
    return TrainingData(
        root=requested.data_root,
        photos=requested.photos,
        pairs=requested.pairs,
        degradations=_degradations(requested, setting) if requested.pairs else (),
        setting=requested.setting,
        max_pixels=requested.max_pixels,
    )


def _degradations(requested: TrainingOptions, setting: str) -> list[str]:
    """Return the degradation of each of the --pairs."""
    labels = SETTINGS[setting]
    if not requested.types and len(labels) == 1:
        return [*labels] * len(requested.pairs)
    if len(requested.types) != len(requested.pairs):
        slugs = ", ".join(LABELS[label].slug for label in labels)
        raise click.UsageError(
            f"Which degradation do the --pairs have? Say --type once for each; '{setting}' has "
            f"{slugs}."
        )
    try:
        return [find(word) for word in requested.types]
    except MaskDCPTError as error:
        raise click.UsageError(str(error)) from error
