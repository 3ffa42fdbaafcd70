"""Pre-training of a classifier that finds several degradations of an image."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from maskdcpt_cli.data.mixture import Mixture, to_float
from maskdcpt_cli.data.order import SampleKey
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.presets.data import Requests, TrainSynthesis
from maskdcpt_cli.presets.training import Pretrain
from maskdcpt_cli.training.events import Initialised, Notice, Validated
from maskdcpt_cli.training.inputs import Inputs, TrainingData, samples_of
from maskdcpt_cli.training.losses import multi_label_focal_loss
from maskdcpt_cli.training.pretrain import Pretraining
from maskdcpt_cli.training.recorders import Log, read_log
from maskdcpt_cli.training.run_folder import begin, check_resumable
from maskdcpt_cli.training.validation import NO_CLEAN
from maskdcpt_cli.weights.checkpoint import read_checkpoint
from tests.training.runs import SIDE, Drawn, differing, pretraining, started, state, steps

LABELS = ("H", "GN", "LL", "clean")
TYPES = LABELS[:-1]
SETS = (
    ImageSet("a", Drawn(4, "H", clean=True), synthesis=TrainSynthesis(levels=(2.0,))),
    ImageSet("a", Drawn(4, "GN", clean=True), synthesis=TrainSynthesis(levels=(40.0,))),
    ImageSet("a", Drawn(4, "LL", clean=True), synthesis=TrainSynthesis(levels=(5.0,))),
    ImageSet("a", Drawn(4, "clean", clean=True)),
)
SEVERAL = Requests(p_several=1, most=3)


def multi_label(**changes: object) -> Pretrain:
    heads = {"multi_label": True, **changes.pop("heads", {})}  # type: ignore[dict-item]
    return pretraining(heads=heads, **changes)


def samples(preset: Pretrain, requests: Requests | None = SEVERAL) -> Mixture:
    inputs = Inputs(SETS, (), LABELS, requests)
    (mixture,) = samples_of(preset, TrainingData(), inputs).mixtures
    return mixture


def trained(run_dir: Path, preset: Pretrain | None = None, **how: object) -> list[object]:
    preset = preset or multi_label()
    how.setdefault("validation", SETS)
    return list(started(preset, run_dir, data=samples(preset), **how))


def test_the_loss_is_its_formula_for_each_label():
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.1, 200.0, -3.0]], requires_grad=True)
    present = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    p = logits.detach().double().sigmoid()
    right = torch.where(present.bool(), p, 1 - p).clip(1e-300)
    for gamma in (0.0, 2.0, 3.5):
        each = -((1 - right) ** gamma) * right.log()
        each[1, 1] = 200  # where the formula has no digits left
        loss = multi_label_focal_loss(logits, present, gamma=gamma)
        assert loss.item() == pytest.approx(each.mean().item(), rel=1e-5)
        loss.backward()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


def test_a_sample_has_several_degradations_and_a_clean_target():
    mixture, photos = samples(multi_label()), {}
    for number in range(16):
        one = mixture[SampleKey(number, SIDE)]
        label = LABELS[one.label]
        photos[label] = one
        assert one.request.all(), "everything is to be removed"
        assert one.present.sum() >= (2 if label != "clean" else 0)
        assert bool(one.present.any()) == (label != "clean")
        assert torch.equal(to_float(one.gt), to_float(one.lq)) == (label == "clean")
        assert to_float(one.gt).unique().numel() < 300, "the soft colours of a clean image"
    assert photos.keys() == set(LABELS)


def test_one_label_of_each_image_is_learnt_from_one_degradation():
    """A data preset may serve both pre-training and fine-tuning by requests."""
    assert samples(pretraining()).asking is None
    assert samples(multi_label(), requests=None).asking is None


def test_clean_is_no_class_and_the_answer_is_right_if_every_label_is():
    task = Pretraining(multi_label(), LABELS)
    assert task.labels == TYPES
    assert task.maskdcpt.classifier is not None
    assert task.maskdcpt.classifier.linear.out_features == len(TYPES)
    logits = torch.tensor([[1.0, 1.0, -1.0], [1.0, -1.0, -1.0], [-1.0, -1.0, -1.0]])

    def model(lq: Tensor, _mask: object) -> tuple[None, Tensor]:
        return None, logits

    one = samples(multi_label())[SampleKey(0, SIDE)]
    image = torch.zeros(3, 3, SIDE, SIDE)
    batch = one._replace(
        lq=image,
        gt=image,
        label=torch.tensor([0, 0, 3]),
        number=torch.arange(3),
        present=torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]),
    )
    losses = task.losses(model, batch)  # type: ignore[arg-type]
    assert losses.accuracy is not None
    assert losses.accuracy.item() == pytest.approx(2 / 3)
    expected = multi_label_focal_loss(logits, batch.present, gamma=2)
    assert losses.total.item() == losses.parts["classification"].item() == expected.item()


def test_a_run_leaves_a_calibrated_classifier_and_resumes_bit_for_bit(tmp_path):
    events = trained(tmp_path / "whole")
    validated = [event for event in events if isinstance(event, Validated)]
    assert validated[-1].scores.keys() == set(LABELS)
    assert set(validated[-1].scores["clean"]) == {"psnr", "accuracy"}
    assert validated[-1].thresholds.keys() == set(TYPES)
    checkpoint = read_checkpoint(tmp_path / "whole" / "final.safetensors")
    assert checkpoint.multi_label
    assert checkpoint.degradations == TYPES
    assert checkpoint.thresholds == validated[-1].thresholds
    assert checkpoint.temperature == validated[-1].temperature

    preset = multi_label()
    begun = started(preset, tmp_path / "parts", data=samples(preset), validation=SETS)
    steps(islice(begun, 5))  # beyond the first validation
    begun.close()
    trained(tmp_path / "parts", resume=True)
    assert not differing(state(tmp_path / "whole"), state(tmp_path / "parts"))


def test_without_clean_images_there_are_no_thresholds_and_a_notice_says_so(tmp_path):
    events = trained(tmp_path, multi_label(iterations=3), validation=SETS[:3])
    assert Notice(NO_CLEAN) in events
    checkpoint = read_checkpoint(tmp_path / "final.safetensors")
    assert checkpoint.temperature is not None
    assert not checkpoint.thresholds


def test_the_log_has_the_thresholds_where_there_are_some(tmp_path):
    log = Log(tmp_path / "log.jsonl", iterations=1)
    one = Validated(1, {}, temperature=1.5)
    log.record(one)
    log.record(replace(one, thresholds={"H": 0.75}))
    first, second = read_log(tmp_path / "log.jsonl")
    assert first == {"iteration": 1, "scores": {}, "temperature": 1.5}
    assert second == {**first, "thresholds": {"H": 0.75}}


@pytest.mark.parametrize(("several", "continues"), [(True, True), (False, False)])
def test_a_classifier_of_the_same_form_continues_training(tmp_path, several, continues):
    trained(tmp_path / "first", multi_label(iterations=1), validation=())
    file = tmp_path / "first" / "final.safetensors"
    changes = {"iterations": 1, "initialise_from": str(file), "heads": {"multi_label": several}}
    alone = [ImageSet("a", Drawn(4, label)) for label in TYPES]  # as many classes in both forms
    initialised, *_ = started(
        pretraining(**changes), tmp_path / "b", data=Mixture(alone, labels=TYPES)
    )
    assert isinstance(initialised, Initialised)
    assert ("classifier.scales" in initialised.loaded) == continues


def test_a_run_of_an_earlier_version_has_one_label_of_each_image(tmp_path):
    preset = pretraining()
    begin(tmp_path, preset, name=None, kind="pretrain", command=(), resume=False)
    path = tmp_path / "preset.yaml"
    content = yaml.safe_load(path.read_text())
    del content["heads"]["multi_label"]
    path.write_text(yaml.safe_dump(content))
    check_resumable(tmp_path, preset, resume=True)
    with pytest.raises(
        MaskDCPTError, match=r"has heads\.multi_label False, but this asks for True"
    ):
        check_resumable(tmp_path, multi_label(), resume=True)
