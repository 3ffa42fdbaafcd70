"""The folder of a run, which anyone can read: what was started, what happened, how it looked.

preset.yaml      every setting, with the place of each in the paper
starts.jsonl     each start: the command, the versions, the state of the source
log.jsonl        losses and scores
tensorboard/     the same for TensorBoard, where that is installed
samples/         what the network made of some images
plot.png         losses and scores over the run
"""

import json
import platform
import subprocess
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from maskdcpt_cli._version import __version__
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import replacing
from maskdcpt_cli.presets.show import annotated
from maskdcpt_cli.presets.training import Run
from maskdcpt_cli.training.events import Event
from maskdcpt_cli.training.log import Log
from maskdcpt_cli.training.pictures import Pictures
from maskdcpt_cli.training.plot import plot
from maskdcpt_cli.training.tensorboard import open_board

PRESET, STARTS, LOG, PLOT = "preset.yaml", "starts.jsonl", "log.jsonl", "plot.png"
LIBRARIES = ("torch", "numpy", "opencv-python-headless")
MAY_CHANGE = (  # between the starts of a run: what moves no weight
    "training.workers",
    "training.save_every",
    "training.checkpointing",
    "training.compile",
    "validation.",
)


def begin(
    run_dir: Path, preset: Run, *, name: str | None, kind: str, command: Sequence[str], resume: bool
) -> None:
    """Make the folder of a run, or find that it can go on, and write down this start.

    Args:
        run_dir: made where it is missing.
        preset: as resolved.
        name: of the preset, or its file.
        kind: "pretrain" or "finetune".
        command: the arguments of the program.
        resume: whether a run that lies there is to go on.

    Raises MaskDCPTError for a run that lies there already, or one of other settings.
    """
    path = run_dir / PRESET
    check_resumable(run_dir, preset, resume=resume)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(annotated(preset, name=name, kind=kind).encode())
        with (run_dir / STARTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(_start(command)) + "\n")
    except OSError as error:
        raise MaskDCPTError(f"The run folder {run_dir}: {error.strerror}.") from error


def check_resumable(run_dir: Path, preset: Run, *, resume: bool) -> None:
    """Raise MaskDCPTError for a run in the folder that is not to be, or cannot be, continued."""
    path = run_dir / PRESET
    try:
        if path.exists():
            _check_same(path, preset, resume=resume)
    except OSError as error:
        raise MaskDCPTError(f"The run folder {run_dir}: {error.strerror}.") from error


def record(
    events: Generator[Event, None, None], run_dir: Path, *, iterations: int
) -> Generator[Event, None, None]:
    """Pass the events of a run on and keep them in its folder; plot them at the end."""
    with ExitStack() as stack:
        stack.enter_context(closing(events))
        keepers = [
            stack.enter_context(closing(keeper))
            for keeper in (
                Log(run_dir / LOG, iterations=iterations),
                open_board(run_dir / "tensorboard"),
                Pictures(run_dir / "samples"),
            )
            if keeper
        ]
        for event in events:
            for keeper in keepers:
                keeper.keep(event)
            yield event
    plot(run_dir / LOG, run_dir / PLOT)


def _check_same(path: Path, preset: Run, *, resume: bool) -> None:
    if not resume:
        raise MaskDCPTError(
            f"There is a run in '{path.parent}': say --resume to go on with it, or another "
            "--run-dir."
        )
    before = dict(_leaves(yaml.safe_load(path.read_text(encoding="utf-8"))))
    now = dict(_leaves(preset.model_dump(mode="json")))
    for place in sorted(before.keys() | now.keys()):
        if before.get(place) != now.get(place) and not place.startswith(MAY_CHANGE):
            raise MaskDCPTError(
                f"The run in '{path.parent}' has {place} {before.get(place)}, but this asks for "
                f"{now.get(place)}: resume it with the same settings, or begin another --run-dir."
            )


def _leaves(node: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings, each with its dotted place."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", value


def _start(command: Sequence[str]) -> dict[str, object]:
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": list(command),
        "maskdcpt": __version__,
        "python": platform.python_version(),
        **{library: _version_of(library) for library in LIBRARIES},
        "git": _git_state(),
    }


def _version_of(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _git_state() -> str | None:
    """The commit that the source is at, marked where it was changed since; None without one."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
