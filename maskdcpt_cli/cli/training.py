"""What `maskdcpt pretrain` and `maskdcpt finetune` share: their options, and a run from them."""

import json
import os
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from maskdcpt_cli.cli.options import any_of, device_option
from maskdcpt_cli.cli.stopping import INTERRUPTED, stopping
from maskdcpt_cli.degradations import DEGRADATIONS, LABELS, SETTINGS, find
from maskdcpt_cli.errors import MaskDCPTError

if TYPE_CHECKING:
    from maskdcpt_cli.presets.training import Run
    from maskdcpt_cli.training.events import Event
    from maskdcpt_cli.training.inputs import Inputs, TrainingData

Command = TypeVar("Command", bound=Callable[..., Any])
PROCESSES = int(os.environ.get("WORLD_SIZE", "1"))
SPEAKS = os.environ.get("RANK", "0") == "0"  # of torchrun's processes the first one
SLUGS = [degradation.slug for degradation in DEGRADATIONS.values()]


@dataclass(frozen=True)
class Asked:
    """What was given on the command line; the fields are those of OPTIONS."""

    preset: str
    backbone: str | None
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
    device: str


FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
OPTIONS = (
    click.option(
        "--preset", required=True, metavar="NAME|FILE",
        help="What `maskdcpt presets` lists, or a file of that form.",
    ),
    click.option(
        "--backbone", metavar="NAME",
        shell_complete=any_of(["nafnet", "promptir", "restormer", "swinir"]),
        help="The network.  [default: the preset's]",
    ),
    click.option(
        "--init-from", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Weights to begin with, as `maskdcpt pretrain` writes them.",
    ),
    click.option(
        "--set", "overrides", multiple=True, metavar="PLACE=VALUE",
        help="Replace a value of the preset, as training.iterations=2000; may be given again.",
    ),
    click.option(
        "--data-root", metavar="FOLDER", type=FOLDER,
        help="Where the data sets of the preset lie.  [default: $MASKDCPT_DATA]",
    ),
    click.option(
        "--pairs", multiple=True, nargs=2, metavar="LQ GT", type=FOLDER,
        help="Train on your own pairs: two folders of pictures of the same names.",
    ),
    click.option(
        "--type", "types", multiple=True, metavar="TYPE", shell_complete=any_of(SLUGS),
        help="Degradation of --pairs, as haze; needed where the setting has several.",
    ),
    click.option(
        "--photos", metavar="FOLDER", type=FOLDER,
        help="Train on your own clean photos, degraded as they are read.",
    ),
    click.option(
        "--setting", type=click.Choice(list(SETTINGS)),
        help="Degradations of --photos and --pairs.  [default: the preset's]",
    ),
    click.option(
        "--run-dir", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False),
        help="Where the run is kept.  [default: runs/COMMAND-PRESET]",
    ),
    click.option("--resume", is_flag=True, help="Go on with the run that lies in --run-dir."),
    click.option(
        "--dry-run", is_flag=True,
        help="Only check everything, and tell how long the run would take and how much memory.",
    ),
    click.option(
        "--micro-batch", metavar="N", type=click.IntRange(min=1),
        help="Images that go through the network at once, to save memory; the batch stays the "
        "preset's.  [default: all of a process]",
    ),
    device_option,
)  # fmt: skip


def options(command: Command) -> Command:
    """Give a command all OPTIONS."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def run(preset: "Run", asked: Asked, *, kind: str) -> None:
    """Train as a resolved preset says, and show it.

    Raises:
        KeyboardInterrupt: with the sentence that says how far the run came.
    """
    from maskdcpt_cli.cli.training_view import View, open_view, show
    from maskdcpt_cli.training.events import Notice
    from maskdcpt_cli.training.finetune import finetune
    from maskdcpt_cli.training.pretrain import pretrain

    data = training_data(asked, preset.data)
    run_dir = asked.run_dir or Path("runs", f"{kind}-{Path(asked.preset).stem}")
    if asked.dry_run:
        from maskdcpt_cli.cli.dry_run import tell

        inputs = data.open(preset.data)
        train = partial(_train, data=data, inputs=inputs, asked=asked)
        tell(preset, inputs, run_dir, train, speaks=SPEAKS)
        return
    runs: dict[str, Callable[..., Generator[Event, None, None]]] = {
        "pretrain": pretrain,
        "finetune": finetune,
    }
    with stopping() as stop:
        events = runs[kind](
            preset, data, run_dir, resume=asked.resume,
            micro_batch=asked.micro_batch, device=_device(asked), command=sys.argv[1:], stop=stop,
        )  # fmt: skip
        view = open_view() if SPEAKS else View()
        view.event(Notice(_sizes(preset, asked)))
        last = show(events, view)
    if last and last.iteration < last.iterations:
        if not SPEAKS:
            click.get_current_context().exit(INTERRUPTED)
        raise KeyboardInterrupt(
            f"Interrupted: {last.iteration} of {last.iterations} iterations are done and saved in "
            f"{run_dir}; the same command with --resume goes on from there."
        )


def load_run(kind: str, asked: Asked) -> "Run":
    """The preset with what was given in its place, by --set and by options of their own."""
    from maskdcpt_cli.presets.training import load_preset

    given = {"backbone": asked.backbone, "initialise_from": asked.init_from}
    overrides = [f"{place}={json.dumps(str(value))}" for place, value in given.items() if value]
    return load_preset(kind, asked.preset, overrides=[*asked.overrides, *overrides])


def _train(
    preset: "Run", run_dir: Path, *, data: "TrainingData", inputs: "Inputs", asked: Asked
) -> "Generator[Event, None, None]":
    """The events of a run that nothing is kept of."""
    from maskdcpt_cli.presets.training import Finetune, Pretrain
    from maskdcpt_cli.training import finetune, pretrain
    from maskdcpt_cli.training.inputs import samples_of

    how: dict[str, Any] = {
        "validation": inputs.validation,
        "micro_batch": asked.micro_batch,
        "device": _device(asked),
    }
    samples = samples_of(preset, data, inputs)
    if isinstance(preset, Pretrain):
        return pretrain.train(preset, samples, run_dir, **how)
    assert isinstance(preset, Finetune)
    return finetune.train(preset, samples, run_dir, **how)


def _device(asked: Asked) -> str | None:
    return None if asked.device == "auto" else asked.device


def _sizes(preset: "Run", asked: Asked) -> str:
    """The sentence that tells the batches of a run and how they are shared."""
    batches = [stage.batch for stage in preset.training.stages]
    told = f"{preset.backbone}, {preset.training.iterations} iterations; batch " + ", then ".join(
        str(batch) for batch in dict.fromkeys(batches)
    )
    told += f", shared by {PROCESSES} processes" if PROCESSES > 1 else ""
    return told + (f", {asked.micro_batch} at once" if asked.micro_batch else "")


def training_data(asked: Asked, preset: str) -> "TrainingData":
    """What to train on: own pairs, own photos, or the data sets of the data preset of that name."""
    from maskdcpt_cli.presets.load import load_data
    from maskdcpt_cli.training.inputs import TrainingData

    if asked.pairs and asked.photos:
        raise click.UsageError("Give either --pairs or --photos.")
    if asked.types and not asked.pairs:
        raise click.UsageError("--type says what --pairs are; there are none.")
    if asked.setting and not (asked.pairs or asked.photos):
        raise click.UsageError("--setting goes with --photos or --pairs; a preset has its own.")
    setting = asked.setting or (load_data(preset).setting if asked.pairs else "")
    return TrainingData(
        root=asked.data_root,
        photos=asked.photos,
        pairs=asked.pairs,
        degradations=_degradations(asked, setting) if asked.pairs else (),
        setting=asked.setting,
    )


def _degradations(asked: Asked, setting: str) -> list[str]:
    """What each of the --pairs is."""
    labels = SETTINGS[setting]
    if not asked.types and len(labels) == 1:
        return [*labels] * len(asked.pairs)
    if len(asked.types) != len(asked.pairs):
        slugs = ", ".join(LABELS[label].slug for label in labels)
        raise click.UsageError(
            f"Which degradation do the --pairs have? Say --type once for each; '{setting}' has "
            f"{slugs}."
        )
    try:
        return [find(word) for word in asked.types]
    except MaskDCPTError as error:
        raise click.UsageError(str(error)) from error
