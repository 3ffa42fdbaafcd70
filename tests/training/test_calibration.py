import math

import pytest
import torch
import torch.nn.functional as F

from maskdcpt_cli.training.calibration import COLDEST, HOTTEST, Answer, fit_temperature
from maskdcpt_cli.training.events import Validated
from maskdcpt_cli.weights.checkpoint import read_checkpoint
from tests.training.runs import INGREDIENTS, finetuning, pretraining, started, state


def drawn(temperature: float, *, count: int = 4000, classes: int = 5) -> list[Answer]:
    """Answers whose labels were drawn from softmax(logits / temperature)."""
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(count, classes, generator=generator)
    shares = (logits / temperature).softmax(dim=1)
    labels = torch.multinomial(shares, 1, generator=generator)[:, 0]
    return [
        Answer(tuple(one), label)
        for one, label in zip(logits.tolist(), labels.tolist(), strict=True)
    ]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_answers_were_drawn_with_is_found(temperature):
    assert fit_temperature(drawn(temperature)) == pytest.approx(temperature, rel=0.1)


def test_no_other_temperature_has_a_smaller_cross_entropy():
    answers = drawn(2.0, count=50)
    found = fit_temperature(answers)
    logits = torch.tensor([one.logits for one in answers]).double()
    count, classes = logits.shape
    right = F.one_hot(torch.tensor([one.label for one in answers]), classes)
    targets = (right * count + 1) / (count + classes)
    least, *others = (
        F.cross_entropy(logits / t, targets).item() for t in (found, 0.99 * found, 1.01 * found)
    )
    assert least < min(others)


def test_few_answers_that_are_all_right_do_not_ask_for_certainty():
    answers = [Answer((3.0, 0.0, 0.0), 0), Answer((0.0, 3.0, 0.0), 1)]
    logits = torch.tensor(answers[0].logits) / fit_temperature(answers)
    # Laplace's rule: 2 + 1 of 2 + 3.
    assert logits.softmax(0)[0].item() == pytest.approx(3 / 5, abs=1e-6)


@pytest.mark.parametrize(("label", "bound"), [(1, HOTTEST), (0, COLDEST)])
def test_it_stays_within_bounds(label, bound):
    found = fit_temperature([Answer((1e-4, 0.0), label)] * 100)
    assert found == pytest.approx(bound, rel=1e-6)


def test_pre_training_leaves_the_temperature_of_its_last_validation(tmp_path):
    events = list(started(pretraining(), tmp_path, validation=INGREDIENTS))
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
        (pretraining(iterations=3, heads={"classification": 0}), INGREDIENTS),
        (finetuning(iterations=3), INGREDIENTS),
    ],
    ids=["nothing held out", "no classifier", "fine-tuning"],
)
def test_there_is_no_temperature_without_answers(preset, validation, tmp_path):
    list(started(preset, tmp_path, validation=validation))
    checkpoint = read_checkpoint(tmp_path / "final.safetensors")
    assert checkpoint.temperature is None
    assert checkpoint.restores == (preset.__class__.__name__ == "Finetune")
