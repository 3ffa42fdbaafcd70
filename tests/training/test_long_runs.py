"""Weights that are kept, runs that are extended, and learning rates that warm up."""

import pytest

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.presets.optimizer import LRSchedule, LRSegment
from maskdcpt_cli.training.events import Notice, Saved
from maskdcpt_cli.training.optimizer import lr_at
from maskdcpt_cli.weights.checkpoint import read_checkpoint
from tests.training.runs import (
    differing,
    finetuning,
    pretraining,
    started,
    state,
    steps,
    stopping_after,
)
from tests.training.test_run import start

STAGE = {"iterations": 3, "crop_size": 16, "batch": 4}
FURTHER = {**STAGE, "iterations": 2, "lr": {"initial": 1e-3, "final": 1e-5}}


def weights(path):
    return read_checkpoint(path).state_dict


@pytest.mark.parametrize("preset_of", [pretraining, finetuning])
def test_weights_are_kept_every_so_many_iterations_also_of_a_run_that_resumes(preset_of, tmp_path):
    preset = preset_of(iterations=5, training={"keep_every": 2, "ema": 0.9})
    events = list(started(preset, tmp_path / "whole"))
    names = ["0000002.safetensors", "0000004.safetensors"]
    saved = [one.path.parent.name for one in events if isinstance(one, Saved)]
    assert saved.count("kept") == 2
    steps(started(preset, tmp_path / "resumed", stop=stopping_after(3)))
    assert not differing(
        weights(tmp_path / "resumed" / "kept" / names[1]),
        weights(tmp_path / "resumed" / "last.safetensors"),
    )
    steps(started(preset, tmp_path / "resumed", resume=True))
    for run in ("whole", "resumed"):
        kept = tmp_path / run / "kept"
        assert sorted(path.name for path in kept.iterdir()) == names
    for name in names:
        both = (tmp_path / run / "kept" / name for run in ("whole", "resumed"))
        assert not differing(*map(weights, both))


def test_a_finished_run_is_extended_by_a_further_stage_as_if_it_had_had_it(tmp_path):
    short = finetuning(training={"stages": [STAGE], "ema": 0.9})
    long = finetuning(training={"stages": [STAGE, FURTHER], "ema": 0.9})
    steps(started(short, tmp_path / "extended"))
    result = (tmp_path / "extended" / "final.safetensors").read_bytes()
    notice, *events = started(long, tmp_path / "extended", resume=True)
    assert isinstance(notice, Notice)
    assert "from 3 to 5 iterations, with a learning rate of 0.001;" in notice.text
    assert (tmp_path / "extended" / "kept" / "0000003.safetensors").read_bytes() == result
    assert [step.iteration for step in steps(events)] == [4, 5]
    steps(started(long, tmp_path / "whole"))
    assert not differing(state(tmp_path / "extended"), state(tmp_path / "whole"))


def test_a_run_is_extended_only_by_stages_with_a_learning_rate_of_their_own(tmp_path):
    start(tmp_path)
    stage = "{iterations: 9, crop_size: 64, batch: 8"
    start(tmp_path, f"training.stages.1={stage}, lr: {{initial: 1e-4}}}}", resume=True)
    with pytest.raises(MaskDCPTError, match=r"has training\.stages .* but this asks for"):
        start(tmp_path, f"training.stages.1={stage}}}", resume=True)
    with pytest.raises(MaskDCPTError, match=r"has training\.stages"):
        start(tmp_path, resume=True)  # with fewer stages


def test_a_learning_rate_warms_up_to_its_schedule():
    plain = LRSchedule(initial=1e-3, final=1e-5)
    segments = [[LRSegment(5, 25, one)] for one in (plain, plain.model_copy(update={"warm_up": 4}))]
    fractions = [lr_at(segments[1], i) / lr_at(segments[0], i) for i in range(5, 25)]
    assert fractions[:4] == pytest.approx([0.25, 0.5, 0.75, 1])
    assert set(fractions[3:]) == {1.0}


def test_a_warm_up_that_is_longer_than_its_schedule_is_refused():
    with pytest.raises(ValueError, match=r"warm-up of optimizer\.lr takes 7 iterations, .* only 6"):
        finetuning(optimizer={"lr": {"initial": 1e-3, "warm_up": 7}})
