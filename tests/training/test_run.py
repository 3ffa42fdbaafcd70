"""The folder of a run: its files, and the runs that are refused."""

import json
import os
import subprocess
from collections.abc import Generator
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.presets.load import load
from maskdcpt_cli.presets.training import Pretrain, Run
from maskdcpt_cli.training import recorders, run_folder
from maskdcpt_cli.training.dry_run import ITERATIONS, dry_run
from maskdcpt_cli.training.events import (
    Event,
    Initialised,
    Notice,
    Saved,
    Step,
    Validated,
    ValidationImages,
)
from maskdcpt_cli.training.recorders import (
    MAX_SIDE,
    Log,
    TensorBoard,
    mean_step,
    read_log,
    read_panels,
)
from maskdcpt_cli.training.run_folder import begin, record

NAN = float("nan")


def preset(*overrides: str) -> Pretrain:
    return load("tiny", Pretrain, kind="pretrain", overrides=overrides)


def step(iteration: int, *, iterations: int = 4, loss: float = 0.5, accuracy: float = 0.25) -> Step:
    return Step(
        iteration=iteration, iterations=iterations, losses={"total": loss}, accuracy=accuracy,
        lr=3e-4, batch=8, images_per_second=16.0, waited=0.02, memory=10**9, skipped=0,
    )  # fmt: skip


def happening(first: int = 1, last: int = 4) -> Generator[Event, None, None]:
    yield Initialised(Path("a.safetensors"), ("a",), ("b",), ())
    for iteration in range(first, last + 1):
        yield step(iteration, loss=1 / iteration)
    image = np.zeros((32, 32, 3), np.uint8)
    scores = {"H": {"accuracy": 0.5}, "RS": {"accuracy": 1.0}}
    yield Validated(last, scores, (ValidationImages("H", image, image, image),))
    yield Saved(last, Path("last.safetensors"))


def start(folder: Path, *overrides: str, resume: bool = False) -> None:
    begin(
        folder, preset(*overrides), name="tiny", kind="pretrain",
        command=["pretrain", "--preset", "tiny"], resume=resume,
    )  # fmt: skip


def test_a_run_folder_holds_all_that_anyone_may_ask_for(tmp_path):
    start(tmp_path / "run", "mask.ratio=0.75")
    events = list(record(happening(), tmp_path / "run", iterations=4))
    assert len(events) == 7
    folder = tmp_path / "run"
    assert yaml.safe_load((folder / "preset.yaml").read_text())["mask"]["ratio"] == 0.75
    (started,) = (json.loads(line) for line in (folder / "launches.jsonl").open())
    assert started["command"] == ["pretrain", "--preset", "tiny"]
    assert {"time", "maskdcpt", "python", "torch", "git"} <= started.keys()
    lines = list(read_log(folder / "log.jsonl"))
    assert [line["iteration"] for line in lines if "losses" in line] == [1, 2, 3, 4]
    assert lines[0]["initialised"]["missing"] == ["b"]
    assert lines[-2]["scores"]["RS"] == {"accuracy": 1.0}
    assert lines[-1]["saved"] == "last.safetensors"
    for name in ("plot.png", "samples/0000004.jpg"):
        with Image.open(folder / name) as image:
            image.verify()
    assert any((folder / "tensorboard").iterdir())


@pytest.mark.parametrize("name", ["final.safetensors", "last.state", "log.jsonl", "plot.png"])
@pytest.mark.parametrize("resume", [False, True])
def test_files_of_others_in_the_folder_are_not_replaced(name, resume, tmp_path):
    (tmp_path / name).write_text("mine")
    with pytest.raises(MaskDCPTError, match=rf"{name}' is not of a run in this folder"):
        start(tmp_path, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_tensorboard_has_images_side_by_side_capped_in_number_and_size(tmp_path):
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    small, large = (np.full((side, side, 3), side % 256, np.uint8) for side in (32, 300))
    images = [ValidationImages("GN", small, small // 2, small * 2)]
    images += [ValidationImages(f"D{number}", large, large, large) for number in range(7)]
    board = TensorBoard(tmp_path)
    for iteration in (2, 4):
        board.record(Validated(iteration, {"GN": {"psnr": 20.0}}, tuple(images)))
    board.close()
    accumulator = event_accumulator.EventAccumulator(str(tmp_path), size_guidance={"images": 0})
    accumulator.Reload()
    tags = accumulator.Tags()
    assert tags["scalars"] == ["psnr/GN"]
    assert tags["images"] == ["images/GN", *(f"images/D{number}" for number in range(4))]
    assert [one.step for one in accumulator.Images("images/D0")] == [2, 4]
    sizes = [(one.width, one.height) for one in accumulator.Images("images/D0")]
    assert sizes == [(3 * MAX_SIDE, MAX_SIDE)] * 2
    with Image.open(BytesIO(accumulator.Images("images/GN")[0].encoded_image_string)) as row:
        assert np.array_equal(np.asarray(row), np.hstack([small, small // 2, small * 2]))


def test_an_existing_run_is_not_overwritten(tmp_path):
    start(tmp_path)
    with pytest.raises(MaskDCPTError, match="type --resume to continue it, or change --run-dir"):
        start(tmp_path)


def test_a_run_resumes_with_its_own_settings_only(tmp_path):
    start(tmp_path)
    start(tmp_path, "training.workers=7", "validation.every=3", resume=True)
    assert len((tmp_path / "launches.jsonl").read_text().splitlines()) == 2
    with pytest.raises(MaskDCPTError, match=r"has mask.ratio 0.5, but this asks for 0.75"):
        start(tmp_path, "mask.ratio=0.75", resume=True)


def test_a_folder_that_cannot_be_created_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MaskDCPTError, match=r"The run folder .*file"):
        start(tmp_path / "file")


def test_a_finished_run_says_how_to_train_further(tmp_path):
    start(tmp_path)
    (tmp_path / "final.safetensors").touch()
    further = r"To train further, begin another run with its weights: --init-from .*final"
    with pytest.raises(MaskDCPTError, match=f"There is a finished run in .* {further}"):
        start(tmp_path)
    with pytest.raises(MaskDCPTError, match=f"The finished run in .*1600.*{further}"):
        start(tmp_path, "training.iterations=1600", resume=True)


@pytest.mark.parametrize("content", ["[1", "3", "[]", "&a [*a]"])
def test_a_preset_of_something_else_is_refused(content, tmp_path):
    (tmp_path / "preset.yaml").write_text(content)
    with pytest.raises(MaskDCPTError, match=r"is not YAML|is not the preset of a run"):
        start(tmp_path, resume=True)


@pytest.mark.parametrize("name", ["log.jsonl", "samples", "plot.png"])
def test_a_record_that_cannot_be_written_is_a_sentence(name, tmp_path):
    if name == "samples":
        (tmp_path / name).touch()
    else:
        (tmp_path / name).mkdir()
    with pytest.raises(MaskDCPTError, match=r"^The run folder .*: .*\.$"):
        list(record(happening(), tmp_path, iterations=4))


def test_a_run_folder_may_have_a_name_that_is_no_text(tmp_path):
    folder = tmp_path / os.fsdecode(b"run-\xff")
    start(folder)
    list(record(happening(), folder, iterations=4))
    assert (folder / "plot.png").exists()
    with pytest.raises(MaskDCPTError) as error:
        start(folder)
    assert str(error.value).encode()


def test_a_resumed_run_repeats_no_line(tmp_path):
    path = tmp_path / "log.jsonl"
    list(record(happening(last=3), tmp_path, iterations=5))
    with path.open("a") as file:
        file.write('{"iteration": 4, "los')  # killed here
    list(record(happening(first=3, last=5), tmp_path, iterations=5))
    iterations = [line["iteration"] for line in read_log(path) if "losses" in line]
    assert iterations == [1, 2, 3, 4, 5]


def test_closing_the_record_closes_the_run(tmp_path):
    closed = []

    def events() -> Generator[Event, None, None]:
        try:
            yield from happening()
        finally:
            closed.append(True)

    recorded = record(events(), tmp_path, iterations=4)
    next(recorded)
    recorded.close()
    assert closed
    assert not (tmp_path / "plot.png").exists()


def test_a_long_run_has_a_log_of_bounded_length_that_averages(tmp_path, monkeypatch):
    monkeypatch.setattr(recorders, "MAX_LINES", 10)
    log = Log(tmp_path / "log.jsonl", iterations=100)
    for iteration in range(1, 96):
        log.record(step(iteration, iterations=100, loss=float(iteration)))
    log.close()
    lines = list(read_log(tmp_path / "log.jsonl"))
    assert [line["iteration"] for line in lines] == [*range(10, 91, 10), 95]
    assert lines[0]["losses"]["total"] == 5.5


def test_what_is_no_number_is_left_out_of_a_mean(tmp_path):
    assert (
        mean_step([step(1, loss=1.0), step(2, loss=NAN), step(3, loss=3.0)]).losses["total"] == 2.0
    )
    log = Log(tmp_path / "log.jsonl", iterations=1)
    log.record(step(1, loss=NAN))
    log.record(Notice("Iteration 1 was skipped."))
    (first, second) = (json.loads(line) for line in (tmp_path / "log.jsonl").open())
    assert first["losses"] == {}
    assert second["notice"] == "Iteration 1 was skipped."


def test_the_speed_of_a_warm_up_is_left_out_of_a_mean():
    slow = replace(step(1), images_per_second=1.0, waited=0.9, warm_up=True)
    mean = mean_step([slow, step(2), step(3)])
    assert (mean.images_per_second, mean.waited, mean.warm_up) == (16.0, 0.02, False)
    alone = mean_step([slow])
    assert (alone.images_per_second, alone.waited, alone.warm_up) == (1.0, 0.9, True)


def test_curves_are_read_from_the_log(tmp_path):
    list(record(happening(), tmp_path, iterations=4))
    panels = read_panels(tmp_path / "log.jsonl")
    assert panels["loss"]["total"] == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.25)]
    assert panels["accuracy"] == {"H": [(4, 0.5)], "RS": [(4, 1.0)]}


def test_a_dry_run_estimates_each_stage(tmp_path):
    run = preset(
        "training.stages=[{iterations: 100, crop_size: 64, batch: 8}, "
        "{iterations: 50, crop_size: 128, batch: 8}]"
    )

    def train(short: Run, folder: Path) -> Generator[Event, None, None]:
        assert short.training.iterations == ITERATIONS
        (folder / "last.state").write_bytes(bytes(700))
        (folder / "final.safetensors").write_bytes(bytes(300))
        yield from (step(iteration) for iteration in range(1, ITERATIONS + 1))

    stages = list(dry_run(run, train, run_dir=tmp_path))
    assert [one.seconds for one in stages] == [50, 25]
    assert [one.stage.crop_size for one in stages] == [64, 128]
    assert {(one.memory, one.disk, one.weights) for one in stages} == {(10**9, 1000, 300)}


def test_the_commit_is_that_of_maskdcpt_and_not_of_the_project_it_is_installed_in(
    tmp_path, monkeypatch
):
    module = tmp_path / "venv" / "run_folder.py"
    module.parent.mkdir()
    module.touch()
    git = partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True)
    git(["git", "init"])
    author = ["-c", "user.name=a", "-c", "user.email=a"]
    git(["git", *author, "commit", "--allow-empty", "-m", "theirs"])
    monkeypatch.setattr(run_folder, "__file__", str(module))
    assert run_folder._git_state() is None
    git(["git", "add", str(module)])
    assert run_folder._git_state()
