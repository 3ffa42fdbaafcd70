"""The folder of a run: its preset, its launches, what happened, and how its output looked.

preset.yaml      every setting, with its source in the paper
launches.jsonl   each launch: the command, the versions, the state of the source
conductance.json which layers are trained, where the preset selects them
log.jsonl        losses and scores
tensorboard/     the same for TensorBoard, where that is installed
samples/         the network's output for some images
plot.png         losses and scores over the run
"""

import json
import platform
import subprocess
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from maskdcpt_cli._version import __version__
from maskdcpt_cli.degradations import slug
from maskdcpt_cli.errors import MaskDCPTError, check_range
from maskdcpt_cli.files import check_inside, replacing, shown
from maskdcpt_cli.plugins import check_there, needed
from maskdcpt_cli.presets.load import load_data, rename_keys
from maskdcpt_cli.presets.parse import read_yaml
from maskdcpt_cli.presets.show import annotated
from maskdcpt_cli.presets.training import Finetune, Run
from maskdcpt_cli.training.checkpointing import CheckpointFolder, how_to_go_on
from maskdcpt_cli.training.distributed import init_distributed, is_main_process, restarted
from maskdcpt_cli.training.events import Event, Notice
from maskdcpt_cli.training.failures import ending_together
from maskdcpt_cli.training.inputs import TrainingData, samples_of
from maskdcpt_cli.training.loop import Stop
from maskdcpt_cli.training.recorders import ImageSheets, Log, Recorder, open_tensorboard, plot
from maskdcpt_cli.training.trackers import Trackers

Preset = TypeVar("Preset", bound=Run)
Events = Generator[Event, None, None]

PRESET, LAUNCHES, LOG, PLOT = "preset.yaml", "launches.jsonl", "log.jsonl", "plot.png"
EARLIER_LAUNCHES = "starts.jsonl"  # the name in folders of earlier versions
REPLACED = (
    *(f"{name}.safetensors" for name in ("last", "best", "final")),
    *("last.state", "best.state", LOG, PLOT),
)
STAGES = "training.stages"  # of a run that is extended there are more
LIBRARIES = ("torch", "numpy", "opencv-python-headless")
MAY_CHANGE = (  # between the launches of a run: settings that change no weight
    "training.workers",
    "training.save_every",
    "training.keep_every",
    "training.checkpointing",
    "training.compile",
    "training.deterministic",
    "validation.",
)


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
    """Open the data of a run, begin its folder, and return its events; see `pretrain`."""
    resume, name = resume or (restarted() and _began(run_dir, command)), preset.name
    if micro_batch is not None:
        check_range("micro_batch", micro_batch, least=1)
    with ending_together(init_distributed(device)):
        if is_main_process():
            check_resumable(run_dir, preset, resume=resume)
            check_plugins(run_dir)
        before = _last_launch(run_dir).get("pairs")
        inputs = data.open(preset.data)
        events = train(
            preset, samples_of(preset, data, inputs), run_dir,
            validation=inputs.validation, name=name and shown(Path(Path(name).stem)),
            resume=resume, micro_batch=micro_batch, device=device, stop=stop,
        )  # fmt: skip
        if not is_main_process():
            return events
        trackers = Trackers(run_dir, preset.model_dump(mode="json"))
        plugins = sorted({*inputs.plugins, *_plugins_of(preset)})
        begin(
            run_dir, preset, name=name, kind=kind, command=command, resume=resume,
            plugins=plugins, pairs=inputs.pair_count,
        )  # fmt: skip
    own = data.photos or data.pairs or any(stage.data for stage in preset.training.stages)
    if lacking := () if own else inputs.lacking:
        words = ", ".join(slug(label) for label in lacking)
        events = _noticed(f"The data have no training images of: {words}.", events)
    if before and before != inputs.pair_count:
        events = _noticed(
            f"The run had {before} pairs and has {inputs.pair_count} now: its samples, and those "
            "that it is validated on, are others from here on.",
            events,
        )
    return record(trackers.track(events), run_dir, iterations=preset.training.iterations)


def _noticed(notice: str, events: Events) -> Events:
    with closing(events):
        yield Notice(notice)
        yield from events


def begin(
    run_dir: Path,
    preset: Run,
    *,
    name: str | None,
    kind: str,
    command: Sequence[str],
    resume: bool,
    plugins: Sequence[str] = (),
    pairs: int = 0,
) -> None:
    """Make the folder of a run, or check that it can be resumed, and record this launch.

    Args:
        run_dir: created if it does not exist.
        preset: resolved.
        name: of the preset, or its file.
        kind: "pretrain" or "finetune".
        command: the arguments of the program.
        resume: whether a run in the folder is continued.
        plugins: modules of those that the run needs.
        pairs: how many it sees.

    Raises:
        MaskDCPTError: for a run that is there already, or one of other settings.
    """
    path = run_dir / PRESET
    check_resumable(run_dir, preset, resume=resume)
    with _folder_errors(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(annotated(preset, name=name, kind=kind).encode())
        if (run_dir / EARLIER_LAUNCHES).exists():
            (run_dir / EARLIER_LAUNCHES).rename(run_dir / LAUNCHES)
        with (run_dir / LAUNCHES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(_launch(command, plugins, pairs)) + "\n")


def check_resumable(run_dir: Path, preset: Run, *, resume: bool) -> None:
    """Check that there is no run in the folder, or one that is to be and can be continued.

    Raises:
        MaskDCPTError: where it is not so, and for a symbolic link that leads out of the folder.
    """
    path = run_dir / PRESET
    with _folder_errors(run_dir):
        for link in filter(Path.is_symlink, run_dir.rglob("*")):
            check_inside(link, run_dir)
        if path.exists():
            _check_same(path, preset, resume=resume)
            return
    for name in REPLACED:
        if (run_dir / name).exists():
            raise MaskDCPTError(
                f"'{shown(run_dir / name)}' is not of a run in this folder, and would be replaced: "
                "choose another --run-dir."
            )


def check_plugins(run_dir: Path) -> None:
    """Raise MaskDCPTError for a run that needs a plugin which is not in use."""
    with suppress(TypeError):  # a line that was altered
        names = _last_launch(run_dir).get("plugins", ())
        check_there(names, by=f"The run in '{shown(run_dir)}'")


def _plugins_of(preset: Run) -> set[str]:
    """Return the modules of the plugins that a run needs, but for those of its own data."""
    losses = [preset.loss] if isinstance(preset, Finetune) else []
    of_stages = [load_data(stage.data).plugins for stage in preset.training.stages if stage.data]
    return {*needed(BACKBONES=[preset.backbone], LOSSES=losses), *chain.from_iterable(of_stages)}


def record(events: Events, run_dir: Path, *, iterations: int) -> Events:
    """Yield the events of a run and keep them in its folder; plot them at the end."""
    available: tuple[Recorder | None, ...] = (
        Log(run_dir / LOG, iterations=iterations),
        open_tensorboard(run_dir / "tensorboard"),
        ImageSheets(run_dir / "samples"),
    )
    recorders = [recorder for recorder in available if recorder]
    with ExitStack() as stack:
        stack.enter_context(closing(events))
        for recorder in recorders:
            stack.enter_context(closing(recorder))
        for event in events:
            with _folder_errors(run_dir):
                for recorder in recorders:
                    recorder.record(event)
            yield event
    with _folder_errors(run_dir):
        plot(run_dir / LOG, run_dir / PLOT)


@contextmanager
def _folder_errors(run_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise MaskDCPTError(f"The run folder {shown(run_dir)}: {reason}.") from error


def _check_same(path: Path, preset: Run, *, resume: bool) -> None:
    place, further = shown(path.parent), _how_to_go_on(path.parent)
    if not resume and further:
        raise MaskDCPTError(f"There is a finished run in '{place}'. {further}")
    if not resume:
        raise MaskDCPTError(
            f"There is a run in '{place}': type --resume to continue it, or change --run-dir."
        )
    now = dict(_leaves(preset.model_dump(mode="json")))
    before = dict(_leaves(_earlier(path, preset)))
    advice = further or "Resume it with the same settings, or begin another --run-dir."
    for key_path in sorted(before.keys() | now.keys()):
        if key_path == STAGES and _extends(before[key_path], now[key_path]):
            continue
        if before.get(key_path) != now.get(key_path) and not key_path.startswith(MAY_CHANGE):
            raise MaskDCPTError(
                f"The {'finished ' if further else ''}run in '{place}' has {key_path} "
                f"{before.get(key_path)}, but this asks for {now.get(key_path)}. {advice}"
            )


def _earlier(path: Path, preset: Run) -> dict[str, Any]:
    """Return the preset of a run in a folder; what earlier versions did not have is as it was."""
    content = rename_keys(read_yaml(path))
    # Earlier versions had no experts, so that the weight of their loss does not matter.
    if isinstance(content, dict):
        content.setdefault("load_loss", preset.load_loss)
    try:
        return type(preset).model_validate(content).model_dump(mode="json")
    except ValidationError as error:
        raise MaskDCPTError(
            f"{shown(path)} is not the preset of a run: begin another --run-dir."
        ) from error


def _extends(before: Sequence[Any], now: Sequence[Any]) -> bool:
    """Return whether a run has the stages of before, and others, each with a rate of its own."""
    return now[: len(before)] == before and all(stage["lr"] for stage in now[len(before) :])


def _how_to_go_on(run_dir: Path) -> str:
    """Return how to train further than the run in a folder; "" where it is not finished."""
    folder = CheckpointFolder(run_dir)
    return how_to_go_on(folder) if folder.weights("final").exists() else ""


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings, each with its dotted key path."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _began(run_dir: Path, command: Sequence[str]) -> bool:
    """Return whether the run in a folder was begun or resumed by a command: not one of others."""
    return bool(_last_launch(run_dir).get("command") == list(command))


def _last_launch(run_dir: Path) -> dict[str, Any]:
    """Return what was recorded of the last launch; nothing where there is none to be read."""
    try:
        text = (run_dir / LAUNCHES).read_text(encoding="utf-8", errors="replace")
        launch = json.loads(text.splitlines()[-1])
    except (OSError, ValueError, IndexError):  # no launch, or a line cut short
        return {}
    return launch if isinstance(launch, dict) else {}


def _launch(command: Sequence[str], plugins: Sequence[str], pairs: int) -> dict[str, object]:
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": list(command),
        "maskdcpt": __version__,
        "python": platform.python_version(),
        **{library: _version_of(library) for library in LIBRARIES},
        "git": _git_state(),
        **({"pairs": pairs} if pairs else {}),
        **({"plugins": list(plugins)} if plugins else {}),
    }


def _version_of(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _git_state() -> str | None:
    """Return the commit of the source, marked if the source differs; None without one."""
    own = Path(__file__)
    git = partial(subprocess.run, cwd=own.parent, capture_output=True, text=True, check=True)
    try:
        git(["git", "ls-files", "--error-unmatch", own.name])  # or it is of the user's own project
        done = git(["git", "describe", "--always", "--dirty", "--abbrev=40"])
    except (OSError, subprocess.CalledProcessError):
        return None
    return str(done.stdout).strip()
