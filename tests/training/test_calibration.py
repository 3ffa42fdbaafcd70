import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from maskdcpt_cli.training.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    MultiLabelPrediction,
    Prediction,
    calibrate,
    fit_multi_label_temperature,
    fit_temperature,
    fit_thresholds,
)
from maskdcpt_cli.training.events import Validated
from maskdcpt_cli.weights.building import MIN_THRESHOLD
from maskdcpt_cli.weights.checkpoint import read_checkpoint
from tests.training.runs import ENTRIES, finetuning, pretraining, started, state


def sampled(temperature: float, *, count: int = 4000, classes: int = 5) -> list[Prediction]:
    """Return predictions whose labels were sampled from softmax(logits / temperature)."""
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(count, classes, generator=generator)
    probabilities = (logits / temperature).softmax(dim=1)
    labels = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
    return [
        Prediction(tuple(one), label)
        for one, label in zip(logits.tolist(), labels.tolist(), strict=True)
    ]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_sampled_labels_is_fitted(temperature):
    assert fit_temperature(sampled(temperature)) == pytest.approx(temperature, rel=0.1)


def test_no_other_temperature_has_a_smaller_cross_entropy():
    predictions = sampled(2.0, count=50)
    fitted = fit_temperature(predictions)
    logits = torch.tensor([one.logits for one in predictions]).double()
    count, classes = logits.shape
    one_hot = F.one_hot(torch.tensor([one.label for one in predictions]), classes)
    targets = (one_hot * count + 1) / (count + classes)
    least, *others = (
        F.cross_entropy(logits / t, targets).item() for t in (fitted, 0.99 * fitted, 1.01 * fitted)
    )
    assert least < min(others)


def test_few_predictions_that_are_all_correct_do_not_ask_for_certainty():
    predictions = [Prediction((3.0, 0.0, 0.0), 0), Prediction((0.0, 3.0, 0.0), 1)]
    logits = torch.tensor(predictions[0].logits) / fit_temperature(predictions)
    # Laplace's rule: 2 + 1 of 2 + 3.
    assert logits.softmax(0)[0].item() == pytest.approx(3 / 5, abs=1e-6)


@pytest.mark.parametrize(("label", "bound"), [(1, MAX_TEMPERATURE), (0, MIN_TEMPERATURE)])
def test_it_stays_within_bounds(label, bound):
    fitted = fit_temperature([Prediction((1e-4, 0.0), label)] * 100)
    assert fitted == pytest.approx(bound, rel=1e-6)


def test_pre_training_leaves_the_temperature_of_its_last_validation(tmp_path):
    events = list(started(pretraining(), tmp_path, validation=ENTRIES))
    first, last = (event.temperature for event in events if isinstance(event, Validated))
    assert first is not None
    assert math.isfinite(first)
    assert state(tmp_path)["temperature"] == last
    checkpoint = read_checkpoint(tmp_path / "final.safetensors")
    assert checkpoint.temperature == last
    assert not checkpoint.restores


@pytest.mark.parametrize(
    ("preset", "validation"),
    [
        (pretraining(iterations=3), ()),
        (pretraining(iterations=3, heads={"classification": 0}), ENTRIES),
        (finetuning(iterations=3), ENTRIES),
    ],
    ids=["nothing held out", "no classifier", "fine-tuning"],
)
def test_there_is_no_temperature_without_predictions(preset, validation, tmp_path):
    list(started(preset, tmp_path, validation=validation))
    checkpoint = read_checkpoint(tmp_path / "final.safetensors")
    assert checkpoint.temperature is None
    assert checkpoint.restores == (preset.__class__.__name__ == "Finetune")


def several(temperature: float, *, count: int = 3000) -> list[MultiLabelPrediction]:
    """Return predictions whose labels were sampled from sigmoid(logits / temperature)."""
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(count, 4, generator=generator) - 1
    present = torch.bernoulli((logits / temperature).sigmoid(), generator=generator).bool()
    return [
        MultiLabelPrediction(tuple(one), tuple(labels))
        for one, labels in zip(logits.tolist(), present.tolist(), strict=True)
    ]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_several_labels_is_fitted(temperature):
    fitted = fit_multi_label_temperature(several(temperature))
    assert fitted == pytest.approx(temperature, rel=0.1)


def test_no_other_temperature_of_several_labels_has_a_smaller_cross_entropy():
    predictions = several(2.0, count=50)
    logits = torch.tensor([one.logits for one in predictions]).double()
    targets = (torch.tensor([one.present for one in predictions]).double() * 50 + 1) / 52
    fitted = fit_multi_label_temperature(predictions)
    least, *others = (
        F.binary_cross_entropy_with_logits(logits / t, targets).item()
        for t in (fitted, 0.99 * fitted, 1.01 * fitted)
    )
    assert least < min(others)


def test_few_answers_that_are_all_correct_do_not_ask_for_certainty():
    predictions = [MultiLabelPrediction((3.0, -3.0), (True, False))] * 2
    probability = torch.tensor(3.0 / fit_multi_label_temperature(predictions)).sigmoid().item()
    assert probability == pytest.approx(3 / 4, abs=1e-6)  # Laplace's rule: 2 + 1 of 2 + 2


LABELS = ("H", "GN", "LL", "J")  # two are matters of the scene


def fraction_called(clean: np.ndarray, thresholds: dict[str, float], *labels: str) -> float:
    columns = [LABELS.index(label) for label in labels]
    limits = [thresholds[label] for label in labels]
    return float((clean[:, columns] > limits).any(axis=1).mean())


@pytest.mark.parametrize("count", [1, 20, 99, 100, 1000])
@pytest.mark.parametrize("correlated", [0.0, 0.9])
def test_thresholds_keep_the_promises_about_clean_photos(count, correlated):
    generator = np.random.default_rng(count)
    shared, own = generator.random((count, 1)), generator.random((count, 4))
    clean = correlated * shared + (1 - correlated) * own
    thresholds = fit_thresholds(clean, LABELS)
    assert list(thresholds) == list(LABELS)
    assert fraction_called(clean, thresholds, "H", "LL") == 0
    assert fraction_called(clean, thresholds, *LABELS) <= 0.03


def test_no_threshold_can_be_lower_by_itself():
    clean = np.random.default_rng(0).random((300, 4))
    thresholds = fit_thresholds(clean, LABELS)
    for column, label in enumerate(LABELS):
        below = clean[:, column][clean[:, column] < thresholds[label]].max()
        lower = {**thresholds, label: below - 1e-9}
        scene = fraction_called(clean, lower, "H", "LL")
        assert scene > 0 or fraction_called(clean, lower, *LABELS) > 0.03


def test_thresholds_are_no_larger_than_the_promises_need():
    clean = np.full((100, 4), 0.1)
    clean[:2, 0] = 0.95, 0.9  # H
    clean[2:5, 1] = 0.94, 0.88, 0.8  # GN
    clean[5, 1] = 0.7
    thresholds = fit_thresholds(clean, LABELS)
    assert thresholds == {"H": 0.95, "GN": 0.7, "LL": MIN_THRESHOLD, "J": MIN_THRESHOLD}
    assert fraction_called(clean, thresholds, "H", "LL") == 0
    assert fraction_called(clean, thresholds, *LABELS) == 0.03
    assert fit_thresholds(clean, LABELS, least=0.3) == {"H": 0.95, "GN": 0.7, "LL": 0.3, "J": 0.3}


def test_several_labels_are_calibrated_with_thresholds_only_where_there_are_clean_images():
    predictions = several(2.0, count=60)
    assert any(not any(one.present) for one in predictions)
    temperature, thresholds = calibrate(predictions, LABELS)
    assert temperature == fit_multi_label_temperature(predictions)
    assert all(MIN_THRESHOLD <= threshold <= 1 for threshold in thresholds.values())
    degraded = [one for one in predictions if any(one.present)]
    assert calibrate(degraded, LABELS) == (fit_multi_label_temperature(degraded), {})
    assert calibrate([], LABELS) == (None, {})


def test_thresholds_are_of_the_kinds_of_blur_together():
    unsure = MultiLabelPrediction((0.3, 0.2, -9.0), (False, False, False))
    found = MultiLabelPrediction((4.0, -4.0, 4.0), (True, False, True))
    labels = ("MB", "GB", "J")
    temperature, thresholds = calibrate([unsure] * 5 + [found] * 5, labels)
    of_kinds = (torch.tensor(unsure.logits[:2]) / temperature).sigmoid().sum()
    assert thresholds["MB"] == pytest.approx(min(of_kinds.item(), 1))
    assert thresholds["MB"] > 0.9
    assert thresholds["J"] == MIN_THRESHOLD
