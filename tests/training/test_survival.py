"""Nothing is lost, whatever ends a run."""

import errno
import json
import math
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from itertools import islice

import pytest
import torch

from maskdcpt_cli.errors import CheckpointError, MaskDCPTError
from maskdcpt_cli.training import finetune
from maskdcpt_cli.training.checkpointing import CheckpointFolder
from maskdcpt_cli.training.events import Notice, Saved, Step, Validated
from maskdcpt_cli.training.recorders import Log
from maskdcpt_cli.weights.building import build
from maskdcpt_cli.weights.checkpoint import read_checkpoint
from tests.training.runs import (
    ENTRIES,
    SHARED,
    SHARED_POISON,
    Poisoned,
    differing,
    finetuning,
    pretraining,
    started,
    state,
    steps,
    stopping_after,
)

COSINE = {"lr": {"initial": 3e-3, "final": 1e-5, "after": 2}}
RUNS = {
    "pre-training": pretraining(training={"ema": 0.9}),
    "with micro-batches": pretraining(mask={"method": "block-wise"}),
    "fine-tuning": finetuning(training={"ema": 0.9}, optimizer={**COSINE, "clip": 0.01}),
    "by layers": finetuning(optimizer={**COSINE, "layer_decay": 0.7, "freeze": ["intro"]}),
    "bf16": finetuning(training={"precision": "bf16", "channels_last": False}),
    "fp16": finetuning(training={"precision": "fp16", "workers": 1}),
    "progressive": finetuning(
        training={
            "stages": [
                {"iterations": 3, "crop_size": 16, "batch": 4},
                {"iterations": 3, "crop_size": 24, "batch": 2},
            ]
        }
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_an_interrupted_run_resumes_bit_for_bit(name, tmp_path):
    preset, how = RUNS[name], {"validation": ENTRIES}
    if name == "with micro-batches":
        how["micro_batch"] = 3
    uninterrupted = steps(started(preset, tmp_path / "whole", **how))
    assert [step.iteration for step in uninterrupted] == [1, 2, 3, 4, 5, 6]

    begun = started(preset, tmp_path / "parts", **how)
    first = steps(islice(begun, 5))  # 3 steps, more or less, between two checkpoints
    begun.close()
    rest = steps(started(preset, tmp_path / "parts", resume=True, **how))
    assert [step.losses for step in first + rest] == [step.losses for step in uninterrupted]
    assert not differing(state(tmp_path / "whole"), state(tmp_path / "parts"))
    for which in ("last", "best", "final"):
        one, other = (
            read_checkpoint(tmp_path / d / f"{which}.safetensors") for d in ("whole", "parts")
        )
        assert not differing(dict(one.state_dict), dict(other.state_dict))
        assert one.temperature == other.temperature


@pytest.mark.parametrize(
    "moments", [(2,), pytest.param((1, 2), marks=pytest.mark.slow)], ids=["once", "twice"]
)
def test_a_run_that_is_killed_at_any_moment_resumes_bit_for_bit(moments, tmp_path):
    command = [sys.executable, "-m", "tests.training.runs", str(tmp_path / "killed")]
    for moment in moments:  # iterations of this process
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        for _ in islice(process.stdout, moment):
            pass
        process.kill()
        process.wait()
        process.stdout.close()
    assert state(tmp_path / "killed")["iteration"] < 6
    for run_dir in (tmp_path / "killed", tmp_path / "whole"):
        how = {"data": Poisoned(SHARED_POISON), "micro_batch": 1, "validation": ENTRIES}
        list(started(pretraining(**SHARED), run_dir, resume=True, **how))
    assert not differing(state(tmp_path / "killed"), state(tmp_path / "whole"))


def test_closing_saves_the_last_iteration_and_a_requested_stop_is_reported(tmp_path):
    preset = pretraining(iterations=9, training={"save_every": 9})
    closed = started(preset, tmp_path / "closed")
    assert isinstance(next(closed), Step)
    closed.close()
    assert state(tmp_path / "closed")["iteration"] == 1

    *_, last = started(preset, tmp_path / "stopped", stop=stopping_after(2))
    assert last == Notice("Stopped after iteration 3; --resume continues.")
    assert state(tmp_path / "stopped")["iteration"] == 3
    assert not (tmp_path / "stopped" / "final.safetensors").exists()


def test_the_weights_at_the_end_are_ready_for_use(tmp_path):
    *_, last = started(finetuning(training={"ema": 0.5}), tmp_path, name="5d")
    assert last == Saved(6, tmp_path / "final.safetensors")
    checkpoint = read_checkpoint(tmp_path / "final.safetensors")
    assert checkpoint.degradations == ("H", "GN", "LL")
    assert checkpoint.preset == "5d"
    assert not checkpoint.classifier
    averages = state(tmp_path)["averages"]
    assert not differing(dict(build(checkpoint).state_dict()), averages)
    assert differing(state(tmp_path)["model"], averages)


def test_a_run_does_not_replace_another(tmp_path):
    list(started(finetuning(iterations=1), tmp_path))
    with pytest.raises(MaskDCPTError, match="already holds a run: --resume"):
        next(started(finetuning(iterations=1), tmp_path))


def test_resuming_where_nothing_is_begins(tmp_path):
    assert len(steps(started(finetuning(iterations=1), tmp_path, resume=True))) == 1


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (finetuning(sizes={"nafnet": {"width": 6}}), "whose backbone is nafnet with .*'width': 4"),
        (pretraining(), "whose kind is fine-tuning, here it is pre-training"),
        (
            finetuning(optimizer={"layer_decay": 0.5}),
            "Resume with the heads, layer_decay and freeze of that run",
        ),
    ],
)
def test_another_kind_of_run_cannot_resume_it(other, sentence, tmp_path):
    list(started(finetuning(iterations=1), tmp_path))
    with pytest.raises(CheckpointError, match=sentence):
        next(started(other, tmp_path, resume=True))


def test_other_classes_than_the_checkpoint_has_are_refused(tmp_path):
    list(started(finetuning(iterations=1), tmp_path))
    data = Poisoned()
    data.labels = ("GN", "LL")
    with pytest.raises(CheckpointError, match="order of labels is H GN LL, here it is GN LL"):
        next(finetune.train(finetuning(), data, tmp_path, resume=True, device="cpu"))


def test_torchruns_restarts_resume_by_themselves(tmp_path, monkeypatch):
    list(started(finetuning(iterations=4), tmp_path, stop=stopping_after(1)))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert [s.iteration for s in steps(started(finetuning(iterations=4), tmp_path))] == [3, 4]


@pytest.mark.parametrize("preset_of", [pretraining, finetuning])
def test_a_run_resumes_without_the_weights_that_it_began_with(preset_of, tmp_path):
    file = tmp_path / "pre" / "final.safetensors"
    list(started(pretraining(iterations=1), file.parent))
    preset = preset_of(initialise_from=str(file), iterations=4, training={"ema": 0.9})
    list(started(preset, tmp_path / "whole"))
    list(started(preset, tmp_path / "parts", stop=stopping_after(1)))
    file.unlink()
    (notice, *rest) = started(preset, tmp_path / "parts", resume=True)
    assert notice == Notice(f"Resuming '{tmp_path / 'parts'}' after iteration 2.")
    assert [step.iteration for step in steps(rest)] == [3, 4]
    assert not differing(state(tmp_path / "whole"), state(tmp_path / "parts"))
    with pytest.raises(CheckpointError, match=r"final\.safetensors cannot be opened: No such file"):
        started(preset, tmp_path / "first", resume=True)
    assert not (tmp_path / "first").exists()


def test_a_score_of_nan_is_never_the_best(tmp_path, monkeypatch):
    scores = iter([math.nan, 20.0, 10.0])
    monkeypatch.setattr("maskdcpt_cli.training.loop.mean_score", lambda *_: next(scores))
    preset = finetuning(iterations=3, validation={"every": 1})
    list(started(preset, tmp_path, validation=ENTRIES))
    best = torch.load(tmp_path / "best.state", weights_only=True)
    assert (best["iteration"], best["best"]) == (2, 20.0)
    log = tmp_path / "log.jsonl"
    Log(log, iterations=1).record(Validated(1, {"H": {"psnr": math.nan, "ssim": 0.5}}))
    assert json.loads(log.read_text())["scores"] == {"H": {"ssim": 0.5}}


def test_the_best_of_a_run_is_saved_again_where_saving_it_was_interrupted(tmp_path, monkeypatch):
    save, failed = CheckpointFolder.save, []

    def interrupted(folder, name, *args, **options):
        if name == "best" and not failed:
            failed.append(name)
            raise KeyboardInterrupt
        return save(folder, name, *args, **options)

    monkeypatch.setattr(CheckpointFolder, "save", interrupted)
    preset = finetuning(iterations=3, validation={"every": 2})
    with pytest.raises(KeyboardInterrupt):
        list(started(preset, tmp_path, validation=ENTRIES))
    assert not (tmp_path / "best.state").exists()
    events = list(started(preset, tmp_path, validation=ENTRIES, resume=True))
    assert any(isinstance(event, Validated) for event in events)
    assert (tmp_path / "best.state").exists()


def test_a_damaged_state_is_refused(tmp_path):
    (tmp_path / "last.state").write_bytes(b"PK\x03\x04 no more of it")
    with pytest.raises(CheckpointError, match=r"last.state is damaged.*--init-from"):
        next(started(finetuning(), tmp_path, resume=True))


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    events = started(finetuning(training={"save_every": 2}), tmp_path)
    assert isinstance(list(islice(events, 3))[-1], Saved)
    before = (tmp_path / "last.state").read_bytes()

    def full(_state: object, file: object) -> None:
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        CheckpointError, match=r"No space left on device\. The .* before it is complete"
    ):
        list(events)
    assert (tmp_path / "last.state").read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["last.safetensors", "last.state"]


def test_a_disk_too_small_is_refused_before_the_first_iteration(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(0, 0, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(CheckpointError, match="GB left, and the checkpoints of this run take"):
        next(started(finetuning(), tmp_path))


@pytest.mark.parametrize("build", [pretraining, finetuning])
def test_weights_keep_the_crop_size_of_the_stage_that_they_come_from(build, tmp_path):
    stages = [{"iterations": 2, "crop_size": side, "batch": 4} for side in (16, 32, 24)]
    sizes = []
    for event in started(build(training={"stages": stages, "save_every": 1}), tmp_path):
        if isinstance(event, Saved) and event.path.name == "last.safetensors":
            sizes.append(read_checkpoint(event.path).crop_size)
    assert sizes == [16, 16, 32, 32, 24, 24]
    assert read_checkpoint(tmp_path / "final.safetensors").crop_size == 24


@pytest.mark.parametrize("content", [[1, 2], {"iteration": 3}, 7])
def test_a_state_of_something_else_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "last.state")
    with pytest.raises(CheckpointError, match=r"last.state (is|is of) "):
        next(started(finetuning(), tmp_path, resume=True))


def test_a_state_without_its_parts_is_refused(tmp_path):
    list(started(finetuning(iterations=1), tmp_path))
    whole = state(tmp_path)
    for key in ("model", "optimizer", "averages", "scaler"):
        torch.save(
            {name: part for name, part in whole.items() if name != key}, tmp_path / "last.state"
        )
        with pytest.raises(CheckpointError, match="is not the state of a run of maskdcpt"):
            next(started(finetuning(iterations=1), tmp_path, resume=True))


def test_a_state_that_is_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "last.state")
    with pytest.raises(CheckpointError, match=r"last\.state is damaged"):
        next(started(finetuning(), tmp_path, resume=True))


def test_a_finished_run_that_is_resumed_says_how_to_train_further(tmp_path):
    list(started(finetuning(iterations=1), tmp_path))
    first = next(started(finetuning(iterations=1), tmp_path, resume=True))
    assert isinstance(first, Notice)
    assert "is finished: all 1 iterations are done. To train further" in first.text
    assert f"--init-from '{tmp_path / 'final.safetensors'}', and another --run-dir." in first.text


@pytest.mark.parametrize(
    ("size", "value"),
    [
        ("width", 0),
        ("width", -1),
        ("width", "a"),
        ("unshuffle", 0),
        ("enc_blk_nums", 3),
        ("wide", 1),
    ],
)
def test_a_size_that_no_network_has_is_refused_before_anything_is_written(size, value, tmp_path):
    sizes = {"nafnet": {size: value}}
    with pytest.raises(MaskDCPTError, match=f"{size}.*(is {value!r}|Choose from)"):
        started(finetuning(sizes=sizes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_sizes_of_an_unknown_network_are_refused(tmp_path):
    with pytest.raises(MaskDCPTError, match=r"sizes.nafnett: Unknown .* Did you mean 'nafnet'"):
        started(finetuning(sizes={"nafnett": {"width": 4}}), tmp_path / "run")
