import numpy as np
import pytest
import torch

from maskdcpt_cli.data.mixture import Mixture, to_float
from maskdcpt_cli.data.order import SampleKey
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.models import BACKBONES
from maskdcpt_cli.models.masking import PatchMask, apply
from maskdcpt_cli.training.events import Initialised, Notice, Validated
from maskdcpt_cli.training.pretrain import Pretraining
from maskdcpt_cli.training.trainer import Trainer
from maskdcpt_cli.weights.checkpoint import read_checkpoint
from tests.training.runs import (
    ENTRIES,
    LABELS,
    SIDE,
    Drawn,
    differing,
    mixture,
    pretraining,
    started,
    state,
    steps,
)


def visible(preset, numbers):
    mask = Pretraining(preset, LABELS).mask(torch.tensor(numbers), torch.zeros(1, 3, SIDE, SIDE))
    assert isinstance(mask, PatchMask)
    return mask.visible


@pytest.mark.parametrize("method", ["random", "square", "block-wise"])
def test_a_mask_belongs_to_its_sample_however_a_batch_is_split(method):
    preset = pretraining(mask={"method": method, "patch_size": 4, "ratio": 0.3})
    together = visible(preset, [5, 6, 7])
    assert together.shape == (3, round(64 * 0.7))
    assert torch.equal(together, torch.cat([visible(preset, [5]), visible(preset, [6, 7])]))
    assert not torch.equal(together[0], together[1])
    other = preset.model_copy(update={"training": preset.training.model_copy(update={"seed": 1})})
    assert not torch.equal(together, visible(other, [5, 6, 7]))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_one_iteration_of_every_backbone(backbone, tmp_path):
    preset = pretraining(backbone=backbone, iterations=1, batch=2)
    (step,) = steps(started(preset, tmp_path))
    assert step.losses["total"] == pytest.approx(
        step.losses["reconstruction"] + step.losses["classification"]
    )
    assert step.accuracy in (0, 0.5, 1)
    assert 0 <= step.waited <= 1
    assert step.memory > 2**20
    held = state(tmp_path)["optimizer"]["state"]
    assert len(held) == len(state(tmp_path)["optimizer"]["param_groups"][0]["params"]) + len(
        state(tmp_path)["optimizer"]["param_groups"][1]["params"]
    ), "every parameter that learns had a gradient"


@pytest.mark.parametrize(
    ("changes", "labels", "continues"),
    [
        ({}, LABELS, True),
        ({"heads": {"classifier_dims": [4, 8, 8, 4]}}, LABELS, False),
        ({}, LABELS[::-1], False),
    ],
)
def test_a_classifier_of_the_same_labels_and_widths_continues_training(
    tmp_path, changes, labels, continues
):
    list(started(pretraining(iterations=2), tmp_path / "first"))
    file = tmp_path / "first" / "final.safetensors"
    still = {"lr": {"initial": 1e-30}, "decoder_lr": {"initial": 1e-30}}
    preset = pretraining(iterations=1, initialise_from=str(file), optimizer=still, **changes)
    data = Mixture(ENTRIES, labels=labels)
    initialised, *_ = started(preset, tmp_path / "second", data=data)
    assert isinstance(initialised, Initialised)
    assert ("classifier.scales" in initialised.loaded) == continues
    assert ("classifier.scales" in initialised.left_over) != continues
    first, second = (
        read_checkpoint(tmp_path / run / "final.safetensors").classifier["linear.bias"]
        for run in ("first", "second")
    )
    assert first.allclose(second) == continues


def test_both_losses_fall_and_validation_shows_images(tmp_path):
    preset = pretraining(iterations=60, training={"save_every": 60}, validation={"every": 60})
    events = list(started(preset, tmp_path, validation=ENTRIES))
    reported = steps(events)
    for part in ("reconstruction", "classification"):
        curve = [step.losses[part] for step in reported]
        assert np.mean(curve[-10:]) < 0.7 * np.mean(curve[:10])
    (validated,) = (event for event in events if isinstance(event, Validated))
    assert validated.scores.keys() == {"GN", "LL"}
    assert {images.degradation for images in validated.images} == {"GN", "LL"}
    for images in validated.images:
        assert images.output.shape == images.gt.shape == (SIDE, SIDE, 3)
        patches = images.lq.reshape(4, 8, 4, 8, 3).any(axis=(1, 3, 4))
        assert patches.sum() == 8, "half of the patches are hidden"


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {"heads": {"clean_pass": True}, "mask": {"ratio": 0}},
            ["reconstruction", "classification"],
        ),
        ({"heads": {"classification": 0}, "mask": {"patch_size": 1}}, ["reconstruction"]),
        ({"heads": {"reconstruction": 0}}, ["classification"]),
    ],
)
def test_earlier_methods_and_single_heads(changes, parts, tmp_path):
    preset = pretraining(iterations=2, validation={"every": 1}, **changes)
    events = list(started(preset, tmp_path, validation=ENTRIES))
    for step in steps(events):
        assert list(step.losses) == ["total", *parts]
        assert (step.accuracy is None) == ("classification" not in parts)
    scores = next(event.scores for event in events if isinstance(event, Validated))
    assert ("psnr" in scores["LL"]) == ("reconstruction" in parts)
    assert ("accuracy" in scores["LL"]) == ("classification" in parts)
    assert (tmp_path / "best.safetensors").exists()
    held = read_checkpoint(tmp_path / "final.safetensors").classifier
    assert bool(held) == ("classification" in parts)


def test_random_labels_belong_to_their_samples_and_say_nothing_of_the_image():
    task = Pretraining(pretraining(heads={"random_labels": True}), LABELS)
    samples = [mixture()[SampleKey(number, SIDE)] for number in range(60)]
    columns = {k: [to_float(getattr(s, k)) for s in samples] for k in ("lq", "gt")}
    columns |= {k: [getattr(s, k) for s in samples] for k in ("label", "number")}
    batch = samples[0]._replace(**{k: torch.stack(of) for k, of in columns.items()})
    logits = torch.zeros(60, len(LABELS))
    logits[:, 0] = 1
    _, accuracy = task._classified(logits, batch)
    assert 0.15 < accuracy < 0.5, "each label as often"
    part = batch._replace(number=batch.number[30:35], label=batch.label[30:35])
    assert torch.equal(task._random_labels(part), task._random_labels(batch)[30:35])
    true = Pretraining(pretraining(), LABELS)._classified(logits, batch)[1]
    assert true != accuracy


def test_in_the_clean_pass_of_dcpt_the_degraded_image_is_not_reconstructed():
    task = Pretraining(pretraining(heads={"clean_pass": True}, mask={"ratio": 0}), LABELS)
    batch = mixture()
    samples = [batch[SampleKey(number, SIDE)] for number in (0, 1)]
    clean = samples[0]._replace(
        **{
            k: torch.stack([to_float(getattr(s, k)) for s in samples])
            for k in ("lq", "gt", "label", "number")
        }
    )
    losses = task.losses(task.model, clean)
    reconstructed = task.model(clean.gt, apply).reconstructed
    assert losses.parts["reconstruction"].item() == pytest.approx(
        (reconstructed - clean.gt).abs().mean().item(), rel=1e-4
    )
    logits = task.model(clean.lq, apply).logits
    assert losses.accuracy.item() == (logits.argmax(1) == clean.label).float().mean().item()


@pytest.mark.parametrize("changes", [{"checkpointing": True}, {"channels_last": False}])
def test_what_saves_memory_or_time_does_not_change_the_numbers(changes, tmp_path):
    plain = steps(started(pretraining(iterations=3), tmp_path / "plain"))
    other = steps(started(pretraining(iterations=3, training=changes), tmp_path / "other"))
    for one, two in zip(plain, other, strict=True):
        assert one.losses == pytest.approx(two.losses, rel=1e-3)


@pytest.mark.parametrize("micro_batch", [1, 3])
def test_small_portions_add_up_to_the_batch(micro_batch, tmp_path, monkeypatch):
    whole = steps(started(pretraining(iterations=3), tmp_path / "whole"))
    sizes, losses = [], Trainer._losses

    def noted(self, piece):
        sizes.append(len(piece.lq))
        return losses(self, piece)

    monkeypatch.setattr(Trainer, "_losses", noted)
    parts = steps(started(pretraining(iterations=3), tmp_path / "parts", micro_batch=micro_batch))
    assert sizes == 3 * {1: [1] * 4, 3: [3, 1]}[micro_batch]
    for one, two in zip(whole, parts, strict=True):
        assert one.losses == pytest.approx(two.losses, rel=1e-3)
        assert one.accuracy == pytest.approx(two.accuracy)
        assert two.batch == 4


def test_pre_training_does_not_depend_on_what_drew_numbers_before(tmp_path):
    list(started(pretraining(iterations=2), tmp_path / "one"))
    torch.rand(7)
    list(started(pretraining(iterations=2), tmp_path / "other"))
    assert not differing(state(tmp_path / "one"), state(tmp_path / "other"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"backbone": "restormer", "mask": {"ratio": 0}, "validation": {"crop_size": 20}},
            "restormer is pre-trained on crops .* multiples of 8, and 20 is not: take 16",
        ),
        ({"backbone": "nafnett"}, "Did you mean 'nafnet'"),
        ({"sizes": {"nafnet": {"widht": 4}}}, "Did you mean 'width'"),
        ({"optimizer": {"freeze": ["encoder_"]}}, "which should be frozen"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_first_iteration(changes, sentence, tmp_path):
    with pytest.raises(MaskDCPTError, match=sentence):
        next(started(pretraining(**changes), tmp_path))


def test_a_broken_image_is_reported_once_and_left_out_of_the_validation(tmp_path):
    pairs = Drawn(9, broken=frozenset({0}))
    data = Mixture([ImageSet("a", pairs)], labels=LABELS)
    preset = pretraining(iterations=8, training={"save_every": 8}, validation={"every": 8})
    events = list(started(preset, tmp_path, data=data, validation=[ImageSet("a", pairs)]))
    texts = [event.text for event in events if isinstance(event, Notice)]
    assert sorted(texts) == [
        "Not validated: 0.png cannot be read.",
        "Replaced by another image: 0.png cannot be read.",
    ]
