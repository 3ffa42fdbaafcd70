"""Steps that are not waited for, as on a GPU: the same run, and nothing lost.

On the CPU the values are there at once, but all decisions are those of a GPU.
"""

from functools import partial
from itertools import islice

import pytest
import torch

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.training.checkpointing import CheckpointFolder
from maskdcpt_cli.training.distributed import DistributedContext
from maskdcpt_cli.training.ema import ExponentialAverage
from maskdcpt_cli.training.events import Event, Notice, Saved, Step, Validated
from maskdcpt_cli.training.finetune import Finetuning
from maskdcpt_cli.training.trainer import Trainer
from tests.training.runs import (
    ENTRIES,
    LABELS,
    Poisoned,
    differing,
    finetuning,
    pretraining,
    started,
    state,
    steps,
    stopping_after,
)

RUNS = {
    "pre-training": pretraining(training={"ema": 0.9}),
    "fine-tuning": finetuning(training={"ema": 0.9}, optimizer={"clip": 0.01}),
    "fp16": finetuning(training={"precision": "fp16"}),
}


@pytest.fixture
def deferred(monkeypatch):
    prepare = Trainer.__init__

    def init(self: Trainer, *args: object, **how: object) -> None:
        prepare(self, *args, **how)  # type: ignore[arg-type]
        self.deferred = True

    def defer() -> None:
        monkeypatch.setattr(Trainer, "__init__", init)

    return defer


def without_speed(event: Event) -> object:
    if isinstance(event, Step):
        return (event.iteration, event.losses, event.accuracy, event.lr, event.skipped)
    return event.path.name if isinstance(event, Saved) else type(event).__name__


@pytest.mark.parametrize("name", RUNS)
def test_the_run_is_the_same_as_one_that_waits(name, deferred, tmp_path):
    preset = RUNS[name]
    waiting = list(started(preset, tmp_path / "waiting", validation=ENTRIES))
    deferred()
    events = list(started(preset, tmp_path / "deferred", validation=ENTRIES))
    assert [without_speed(event) for event in events] == [without_speed(one) for one in waiting]
    one, other = state(tmp_path / "waiting"), state(tmp_path / "deferred")
    for average, of_other in zip(one["averages"].values(), other["averages"].values(), strict=True):
        torch.testing.assert_close(average, of_other, rtol=1e-6, atol=1e-7)
    of_averages = {"averages": {}, "best": None, "temperature": None}
    assert not differing({**one, **of_averages}, {**other, **of_averages})


@pytest.mark.parametrize("name", RUNS)
def test_an_interrupted_run_resumes_bit_for_bit(name, deferred, tmp_path):
    deferred()
    preset = RUNS[name]
    list(started(preset, tmp_path / "whole"))
    begun = started(preset, tmp_path / "parts")
    list(islice(begun, 4))
    begun.close()
    assert 0 < state(tmp_path / "parts")["iteration"] < 6
    list(started(preset, tmp_path / "parts", resume=True))
    assert not differing(state(tmp_path / "whole"), state(tmp_path / "parts"))


def test_a_loss_of_nan_changes_no_weight_no_moment_and_no_average(deferred, tmp_path):
    deferred()
    preset = finetuning(training={"save_every": 1, "ema": 0.5})
    states = {}
    for event in started(preset, tmp_path, data=Poisoned(9)):  # of the third iteration
        if isinstance(event, Saved) and event.path.name == "last.safetensors":
            states[event.iteration] = state(tmp_path)
    assert {key.split(".")[1] for key in differing(states[2], states[3])} == {
        "iteration", "skipped", "skipped_in_a_row",
    }  # fmt: skip
    assert (states[3]["skipped"], states[6]["skipped"]) == (1, 1)
    assert differing(states[3]["model"], states[4]["model"])
    assert [file.name for file in (tmp_path / "skipped").iterdir()] == ["3-0.pt"]


@pytest.mark.parametrize("save_every", [4, 100])
def test_a_nan_is_counted_before_anything_is_saved(save_every, deferred, tmp_path):
    deferred()
    preset = finetuning(iterations=9, training={"save_every": save_every})
    events = started(preset, tmp_path, data=Poisoned(13))  # of the fourth iteration
    for event in events:
        if isinstance(event, Step) and event.iteration == 3:
            break
    events.close()
    held = state(tmp_path)
    assert (held["iteration"], held["skipped"], held["skipped_in_a_row"]) == (4, 1, 1)
    assert (tmp_path / "skipped" / "4-0.pt").exists()


def test_a_batch_that_cannot_be_kept_does_not_lose_the_state(deferred, tmp_path, monkeypatch):
    def full(*_arguments: object) -> None:
        raise MaskDCPTError("No space left.")

    monkeypatch.setattr(CheckpointFolder, "save_batch", full)
    deferred()
    preset = finetuning(iterations=9, training={"save_every": 100})
    with pytest.raises(MaskDCPTError, match="No space left"):
        list(started(preset, tmp_path, data=Poisoned(13)))  # of the fourth iteration
    held = state(tmp_path)
    assert held["iteration"] >= 4
    assert held["skipped"] == 1


def test_validations_see_the_iterations_before_them(deferred, tmp_path):
    deferred()
    order = [
        event.iteration
        for event in started(finetuning(), tmp_path, validation=ENTRIES)
        if isinstance(event, (Step, Validated))
    ]
    assert order == [1, 2, 3, 3, 4, 5, 6, 6]


def test_several_nans_in_a_row_stop_the_run(deferred, tmp_path):
    deferred()
    events = started(finetuning(iterations=20), tmp_path, data=Poisoned(*range(8, 90)))
    with pytest.raises(MaskDCPTError, match="5 iterations in a row, up to 7"):
        list(events)
    held = state(tmp_path)
    assert held["iteration"] in (7, 8)
    assert held["skipped_in_a_row"] == held["iteration"] - 2


def test_a_requested_stop_is_one_iteration_late(deferred, tmp_path):
    deferred()
    *events, last = started(finetuning(), tmp_path, stop=stopping_after(2))
    assert last == Notice("Stopped after iteration 4; --resume continues.")
    assert [step.iteration for step in steps(events)] == [1, 2, 3, 4]


def test_a_stop_in_the_last_iteration_does_not_keep_it_from_validation(deferred, tmp_path):
    deferred()
    events = list(started(finetuning(), tmp_path, validation=ENTRIES, stop=stopping_after(4)))
    assert [one.iteration for one in events if isinstance(one, Validated)] == [3, 6]
    assert isinstance(events[-1], Saved)


@pytest.mark.parametrize("late", [False, True])
def test_overflows_of_fp16_are_counted_as_skipped_and_halve_the_scale(
    late, deferred, tmp_path, monkeypatch
):
    if late:
        deferred()
    scaler = partial(torch.amp.GradScaler, init_scale=2.0**30)
    monkeypatch.setattr(torch.amp, "GradScaler", scaler)
    preset = finetuning(iterations=25, training={"precision": "fp16", "ema": 0.9, "save_every": 1})
    events = list(started(preset, tmp_path))
    reported = steps(events)
    skipped = reported[-1].skipped
    assert 6 < skipped < 20, "more than NaN would be allowed"
    texts = [event.text for event in events if isinstance(event, Notice)]
    assert len([text for text in texts if "the range of fp16; the scale" in text]) == skipped
    assert state(tmp_path)["scaler"]["scale"] == 2.0 ** (30 - skipped)
    assert state(tmp_path)["skipped_in_a_row"] == 0
    assert not (tmp_path / "skipped").exists()


def test_a_gradient_that_always_overflows_stops_the_run(tmp_path, monkeypatch):
    scaler = partial(torch.amp.GradScaler, init_scale=2.0**90)
    monkeypatch.setattr(torch.amp, "GradScaler", scaler)
    preset = finetuning(iterations=25, training={"precision": "fp16"})
    with pytest.raises(MaskDCPTError, match=r"fp16 in 20 iterations in a row, up to 20,.*bf16"):
        list(started(preset, tmp_path))


def test_an_overflow_neither_adds_to_nans_in_a_row_nor_ends_them():
    run = finetuning()
    context = DistributedContext(torch.device("cpu"))
    trainer = Trainer(Finetuning(run, LABELS), run, distributed=context, micro_batch=None)
    progress = trainer.progress
    for overflowed in (False, True, False):
        trainer._count(updated=False, overflowed=overflowed)
    assert (progress.skipped, progress.skipped_in_a_row, trainer.overflowed_in_a_row) == (3, 2, 0)
    trainer._count(updated=True, overflowed=False)
    assert (progress.skipped, progress.skipped_in_a_row) == (3, 0)


def test_an_average_is_updated_where_the_device_says_so():
    model = torch.nn.Linear(3, 2)
    average = ExponentialAverage(model, decay=0.9)
    before = model.weight.detach().clone()
    torch.nn.init.zeros_(model.weight)
    average.update(model, when=torch.tensor(False))
    assert torch.equal(average.parameters["weight"], before)
    average.update(model, when=torch.tensor(True))
    torch.testing.assert_close(average.parameters["weight"], 0.9 * before)


def test_the_speed_of_a_step_after_an_empty_queue_does_not_count(deferred, tmp_path):
    deferred()
    preset = finetuning(iterations=9, training={"save_every": 6}, validation={"every": 99})
    run = steps(started(preset, tmp_path))
    assert [step.iteration for step in run if step.warm_up] == [1, 2, 7]
