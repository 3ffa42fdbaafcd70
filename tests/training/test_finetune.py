from itertools import islice

import numpy as np
import pytest
import torch

from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.errors import CheckpointError, MaskDCPTError
from maskdcpt_cli.models import BACKBONES
from maskdcpt_cli.training.events import Initialised, Notice, Saved, Validated
from maskdcpt_cli.training.losses import LOSSES
from maskdcpt_cli.training.reports import PATIENCE
from maskdcpt_cli.training.task import options_of
from maskdcpt_cli.training.validation import choose
from maskdcpt_cli.weights.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from tests.small import small, small_options
from tests.training.runs import (
    ENTRIES,
    Drawn,
    Poisoned,
    differing,
    finetuning,
    pretraining,
    started,
    state,
    steps,
)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_one_iteration_of_every_backbone(backbone, tmp_path):
    preset = finetuning(backbone=backbone, iterations=1, batch=2)
    (step,) = steps(started(preset, tmp_path))
    assert step.losses.keys() == {"total"}
    assert step.accuracy is None
    assert read_checkpoint(tmp_path / "final.safetensors").backbone == backbone


def test_restoring_is_learnt_and_the_best_weights_are_kept(tmp_path):
    preset = finetuning(
        iterations=60, training={"save_every": 60, "ema": 0.9}, validation={"every": 20}
    )
    events = list(started(preset, tmp_path, validation=ENTRIES[:1]))
    curve = [step.losses["total"] for step in steps(events)]
    assert np.mean(curve[-6:]) < 0.5 * np.mean(curve[:6])
    validated = [event for event in events if isinstance(event, Validated)]
    assert [event.iteration for event in validated] == [20, 40, 60]
    psnrs = [event.scores["LL"]["psnr"] for event in validated]
    assert psnrs[0] < psnrs[-1]
    assert validated[-1].scores["LL"].keys() == {"psnr", "ssim"}
    best = torch.load(tmp_path / "best.state", weights_only=True)
    assert best["best"] == max(psnrs)
    assert best["iteration"] == validated[psnrs.index(max(psnrs))].iteration


def test_fine_tuning_begins_with_the_pre_trained_weights_and_reports_them(tmp_path):
    list(started(pretraining(iterations=2), tmp_path / "pre"))
    file = tmp_path / "pre" / "final.safetensors"
    preset = finetuning(iterations=1, initialise_from=str(file), optimizer={"freeze": [""]})
    with pytest.raises(MaskDCPTError, match="nothing to train"):
        next(started(preset, tmp_path / "frozen"))
    preset = finetuning(
        iterations=1, initialise_from=str(file), optimizer={"lr": {"initial": 1e-30}}
    )
    initialised, *_ = started(preset, tmp_path / "fine")
    assert isinstance(initialised, Initialised)
    given = read_checkpoint(file)
    assert set(initialised.loaded) == set(given.state_dict)
    assert initialised.missing == ()
    assert "classifier.scales" in initialised.left_over
    fine = read_checkpoint(tmp_path / "fine" / "final.safetensors")
    assert not differing(dict(given.state_dict), dict(fine.state_dict))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"backbone": "swinir"}, "weights of nafnet, and swinir is to be trained"),
        ({"sizes": {"nafnet": {"width": 6}}}, r"another size: 'decoder0.* is \(1, 8, .*'width': 4"),
    ],
)
def test_the_weights_of_another_network_are_refused(changes, sentence, tmp_path):
    list(started(finetuning(iterations=1), tmp_path / "one"))
    file = tmp_path / "one" / "final.safetensors"
    preset = finetuning(initialise_from=str(file), **changes)
    with pytest.raises(CheckpointError, match=sentence):
        next(started(preset, tmp_path / "other"))


def test_weights_that_fit_in_shape_alone_are_refused(tmp_path):
    file = tmp_path / "given.safetensors"
    network = small("swinir", window_size=4)
    save_checkpoint(Checkpoint("swinir", options_of(network), network.state_dict()), file)
    preset = finetuning(backbone="swinir", initialise_from=str(file))
    with pytest.raises(CheckpointError, match=r"window_size=4, and it is 8 here; take --set sizes"):
        next(started(preset, tmp_path / "run"))
    options = small_options("nafnet-instruct")
    network = small("nafnet-instruct")
    others = ("RS", "GN", "J")
    save_checkpoint(Checkpoint("nafnet", options_of(network), network.state_dict(), others), file)
    preset = finetuning(sizes={"nafnet": options}, initialise_from=str(file))
    with pytest.raises(CheckpointError, match=r"asked for RS GN J, and this run is of H GN LL"):
        next(started(preset, tmp_path / "run"))


def test_a_loss_of_nan_changes_nothing_and_its_batch_is_kept(tmp_path):
    preset = finetuning(training={"save_every": 1, "ema": 0.5})
    events = started(preset, tmp_path, data=Poisoned(9))  # of the third iteration
    before = None
    for event in events:
        if isinstance(event, Saved) and event.iteration == 2:
            before = state(tmp_path)
        if isinstance(event, Saved) and event.iteration == 3:
            break
    after = state(tmp_path)
    changed = differing(before, after)
    assert {key_path.split(".")[1] for key_path in changed} == {
        "iteration", "skipped", "skipped_in_a_row",
    }  # fmt: skip
    assert not [key_path for key_path in changed if "optimizer.state" in key_path]
    kept = torch.load(tmp_path / "skipped" / "3-0.pt", weights_only=True)
    assert kept["number"].tolist() == [8, 9, 10, 11]
    assert kept["gt"].isnan().any(dim=(1, 2, 3)).tolist() == [False, True, False, False]
    rest = steps(events)
    assert [step.skipped for step in rest] == [1, 1, 1]
    assert all(np.isfinite(step.losses["total"]) for step in rest)


def test_after_several_in_a_row_it_stops_and_says_what_may_help(tmp_path):
    events = started(finetuning(iterations=20), tmp_path, data=Poisoned(*range(8, 60)))
    with pytest.raises(MaskDCPTError, match=r"5 iterations in a row, up to 7; .*optimizer.lr"):
        list(events)
    assert len(list((tmp_path / "skipped").iterdir())) == PATIENCE
    assert state(tmp_path)["iteration"] == 7


def test_a_gradient_that_explodes_does_not_reach_the_weights(tmp_path, monkeypatch):
    def exploding(self: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return (self - other).abs().mean() + (self - self.detach()).abs().sqrt().mean()

    monkeypatch.setattr("torch.nn.functional.l1_loss", exploding)
    events = list(started(finetuning(iterations=2), tmp_path))
    assert [step.skipped for step in steps(events)] == [1, 2]
    assert any(isinstance(event, Notice) and "kept" in event.text for event in events)
    assert not state(tmp_path)["optimizer"]["state"]


def test_validation_images_are_spread_over_all_there_is():
    twice = [
        ImageSet("a", Drawn(100)),
        ImageSet("a", Drawn(3)),
        ImageSet("a", Drawn(50, "GN", clean=True)),
    ]
    chosen = choose(twice, images=10)
    indices = [[one.pair_index for one in chosen if one.entry is source] for source in twice]
    assert indices == [[0, 20, 40, 60, 80], [0, 1, 2], list(range(0, 50, 5))]


def test_the_first_step_is_reported_before_the_second_is_taken(tmp_path):
    events = started(finetuning(), tmp_path)
    (first,) = steps(islice(events, 1))
    assert (first.iteration, first.iterations, first.lr) == (1, 6, 3e-3)
    events.close()


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_falls(loss, tmp_path):
    preset = finetuning(iterations=30, batch=4).model_copy(update={"loss": loss})
    losses = [step.losses["total"] for step in steps(started(preset, tmp_path))]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_an_unknown_loss_is_refused_with_the_known_ones(tmp_path):
    preset = finetuning().model_copy(update={"loss": "relative-l2"})
    with pytest.raises(MaskDCPTError, match=r"Unknown loss 'relative-l2'. Did you mean 'relative-"):
        started(preset, tmp_path / "run")
    assert not (tmp_path / "run").exists()
