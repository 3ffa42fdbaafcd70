"""Recorders of plugins: what they are given, and that their errors end no run."""

import re
import sys
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from maskdcpt_cli import MaskDCPTError, TrainingData, finetune, load_preset
from maskdcpt_cli.plugins import VARIABLE, use_plugin
from maskdcpt_cli.training import run_folder
from maskdcpt_cli.training.events import Event, Notice, Saved, Step, Validated
from maskdcpt_cli.training.recorders import read_log
from maskdcpt_cli.training.trackers import Trackers

ROOT = Path(__file__).parents[2]
SMALL = (
    "training.workers=0",
    "training.stages=[{iterations: 2, batch: 2, crop_size: 64}]",
    "validation={every: 2, images: 1, crop_size: 64}",
    "sizes.nafnet={width: 4, enc_blk_nums: [1, 1, 1, 1], unshuffle: 2}",
)
RECORDER = """
calls = []

class Recorder:
    def __init__(self, run_dir, preset):
        self.call("start", run_dir.name, preset["backbone"])

    def call(self, name, *more):
        calls.append((name, *more))
        if name in FAILS:
            raise ConnectionError("no network")

    def record(self, event):
        self.call("record", type(event).__name__)

    def close(self):
        self.call("close")

RECORDERS = {"mine": Recorder, "other": "PLUGIN:missing"}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.chdir(tmp_path)


def recorder(name: str, *, fails: str = "") -> list[tuple[str, ...]]:
    """Use a plugin with a recorder that fails in a call; return its calls."""
    Path(f"{name}.py").write_text(f"FAILS = {[fails]}\n{RECORDER.replace('PLUGIN', name)}")
    use_plugin(name)
    calls: list[tuple[str, ...]] = sys.modules[name].calls
    return calls


def trained(run_dir: str) -> list[Event]:
    photos = Path("photos")
    photos.mkdir(exist_ok=True)
    for number in range(10):
        Image.effect_noise((96, 96), 80).convert("RGB").save(photos / f"{number}.png")
    preset = load_preset("finetune", "tiny", overrides=SMALL)
    return list(finetune(preset, TrainingData(photos=photos), run_dir, device="cpu"))


def notices(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


@pytest.mark.parametrize("fails", ["", "start", "record", "close"])
def test_a_recorder_has_all_events_and_its_failure_is_one_notice(fails):
    calls = recorder(f"plug_track_{fails or 'none'}", fails=fails)
    events = trained("run")
    assert isinstance(next(e for e in reversed(events) if not isinstance(e, Notice)), Saved)
    assert Path("run/final.safetensors").exists()
    own = [text for text in notices(events) if "'mine'" in text]
    failure = "The recorder 'mine' failed, and the run continues without it: "
    assert own == ([f"{failure}ConnectionError: no network."] if fails else [])
    assert sum("The recorder 'other' failed" in text for text in notices(events)) == 1
    logged = [line["notice"] for line in read_log(Path("run/log.jsonl")) if "notice" in line]
    assert logged == notices(events)
    given = [type(e).__name__ for e in events if not isinstance(e, Notice)]
    expected = [("start", "run", "nafnet"), *(("record", name) for name in given), ("close",)]
    assert calls == {"start": expected[:1], "record": expected[:2]}.get(fails, expected)


def test_a_run_that_is_left_saves_before_its_recorders_are_closed():
    calls = recorder("plug_track_left")

    def events() -> Generator[Event, None, None]:
        try:
            yield Saved(1, Path("a"))
            yield Saved(2, Path("b"))
        finally:
            calls.append(("saved",))

    tracked = Trackers(Path("run"), {"backbone": "nafnet"}).track(events())
    assert [isinstance(next(tracked), one) for one in (Notice, Saved)] == [True, True]
    tracked.close()
    names = [name for name, *_ in calls]
    assert names == ["start", "record", "saved", "close"]


def test_other_processes_than_the_first_have_no_recorders(monkeypatch):
    calls = recorder("plug_track_rank")
    monkeypatch.setattr(run_folder, "is_main_process", lambda: False)
    assert [e.iteration for e in trained("run") if isinstance(e, Step)] == [1, 2]
    assert not calls


def test_a_plugin_that_cannot_be_used_is_refused_before_anything_is_written(monkeypatch):
    Path("plug_track_bad.py").write_text("RECORDERS = {'mine': 3}")
    monkeypatch.setenv(VARIABLE, "plug_track_bad")
    with pytest.raises(MaskDCPTError, match="'mine' in RECORDERS that is not valid: it has to be"):
        trained("run")
    assert not Path("run/preset.yaml").exists()


def test_the_example_logs_to_weights_and_biases(monkeypatch):
    """W&B is a module of the same calls here: it needs an account."""
    logged: list[tuple[int, dict[str, object]]] = []
    started: list[dict[str, object]] = []
    run = SimpleNamespace(
        log=lambda values, step: logged.append((step, values)),
        finish=lambda: logged.append((-1, {})),
    )

    def init(**options: object) -> SimpleNamespace:
        started.append(options)
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    monkeypatch.syspath_prepend(ROOT / "examples" / "plugin")
    use_plugin("maskdcpt_wandb")
    events = trained("run")
    assert not [text for text in notices(events) if "recorder" in text]
    (options,) = started
    assert (options["project"], options["group"], options["dir"]) == (
        "maskdcpt",
        "run",
        Path("run"),
    )
    assert options["config"]["backbone"] == "nafnet"
    (validated,) = (event for event in events if isinstance(event, Validated))
    assert logged == [(2, {"validation": validated.scores}), (-1, {})]
    recorder = sys.modules["maskdcpt_wandb"].WandbRecorder(Path("run"), {})
    step = next(event for event in events if isinstance(event, Step))
    for iteration in (49, 50):
        recorder.record(step.__class__(**{**vars(step), "iteration": iteration}))
    assert logged[2:] == [(50, {"loss": step.losses, "lr": step.lr})]


def test_the_page_shows_the_example():
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    example = (ROOT / "examples" / "plugin" / "maskdcpt_wandb.py").read_text(encoding="utf-8")
    assert example in re.findall(r"```python\n(.*?)```", page, re.DOTALL)
