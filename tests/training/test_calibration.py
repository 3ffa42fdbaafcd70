import math

import pytest
import torch
import torch.nn.functional as F

from maskdcpt_cli.training.events import Validated
from maskdcpt_cli.training.validation import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    Prediction,
    fit_temperature,
)
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
