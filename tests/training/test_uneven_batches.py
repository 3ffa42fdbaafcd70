"""Batches that the processes cannot share evenly, or that are smaller than their number."""

from collections.abc import Mapping
from itertools import islice

import pytest
import torch
from torch import Tensor, nn

from maskdcpt_cli.data.loading import load
from maskdcpt_cli.data.order import Batches
from maskdcpt_cli.presets.training import Pretrain, Run
from maskdcpt_cli.training.distributed import DistributedContext
from maskdcpt_cli.training.finetune import Finetuning
from maskdcpt_cli.training.pretrain import Pretraining
from maskdcpt_cli.training.stages import batch_stages
from maskdcpt_cli.training.trainer import Trainer
from tests.training import uneven
from tests.training.processes import torchrun
from tests.training.runs import (
    LABELS,
    Poisoned,
    finetuning,
    mixture,
    pretraining,
    started,
    state,
    steps,
)

CPU = torch.device("cpu")
RUNS = {
    "pretrain": pretraining(batch=5),
    "clean pass": pretraining(batch=5, heads={"clean_pass": True}),
    "finetune": finetuning(batch=5),
    "relative": finetuning(batch=5, loss="relative-rmse"),
}


def unwrapped(_self: Trainer, model: nn.Module) -> nn.Module:
    return model


def accumulated(
    run: Run, monkeypatch: pytest.MonkeyPatch, *, rank: int, world: int, micro: int | None
) -> tuple[Mapping[str, Tensor], dict[str, Tensor]]:
    """Return the losses and the gradients of a rank's part of the first batch."""
    monkeypatch.setattr(Trainer, "_wrap", unwrapped)
    context = DistributedContext(CPU, rank, world)
    task = Pretraining(run, LABELS) if isinstance(run, Pretrain) else Finetuning(run, LABELS)
    trainer = Trainer(task, run, distributed=context, micro_batch=micro)
    (batch,) = islice(
        load(mixture(), Batches(batch_stages(run, context), rank=rank, world=world), workers=0), 1
    )
    losses = trainer._accumulate(batch)
    return losses, {n: p.grad for n, p in task.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize(("world", "micro"), [(3, None), (3, 1), (8, None)])
def test_losses_and_gradient_are_those_of_the_whole_batch(name, world, micro, monkeypatch):
    run = RUNS[name]
    whole = accumulated(run, monkeypatch, rank=0, world=1, micro=None)
    parts = [
        accumulated(run, monkeypatch, rank=rank, world=world, micro=micro) for rank in range(world)
    ]
    for index, expected in enumerate(whole):
        for key, value in expected.items():
            mean = sum(part[index][key] for part in parts) / world
            scale = value.abs().max()
            assert torch.allclose(mean, value, rtol=1e-4, atol=1e-5 * scale.item()), key


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_an_even_part_has_the_weight_of_one_exactly(world, monkeypatch):
    monkeypatch.setattr(Trainer, "_wrap", unwrapped)
    run = finetuning(batch=6)
    for rank in range(world):
        context = DistributedContext(CPU, rank, world)
        trainer = Trainer(Finetuning(run, LABELS), run, distributed=context, micro_batch=None)
        assert trainer._weight(0) == 1.0


@pytest.mark.parametrize(("rank", "at_fault"), [(0, False), (1, True)])
def test_a_process_without_an_image_is_not_at_fault(rank, at_fault, monkeypatch):
    monkeypatch.setattr(Trainer, "_wrap", unwrapped)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda _values: None)
    run, context = finetuning(batch=5), DistributedContext(CPU, rank, 8)
    trainer = Trainer(Finetuning(run, LABELS), run, distributed=context, micro_batch=None)
    keys = Batches(batch_stages(run, context), rank=rank, world=8, last=1)
    (batch,) = load(Poisoned(*range(5)), keys, workers=0)
    result = trainer.finish(trainer.step(batch))
    assert (result.updated, result.at_fault) == (False, at_fault)


@pytest.mark.torchrun
@pytest.mark.parametrize("kind", [pytest.param("pretrain", marks=pytest.mark.slow), "finetune"])
def test_three_processes_train_as_one_does_and_resume(kind, tmp_path):
    """With batches of 4, whose parts are 1, 1 and 2, then of 2, whose first is empty."""
    if kind == "finetune":
        list(started(pretraining(iterations=1), tmp_path / uneven.WEIGHTS))
    printed = torchrun("tests.training.uneven", kind, str(tmp_path / "three"), processes=3)
    alone = list(started(uneven.run_of(kind, tmp_path / "one"), tmp_path / "one"))
    lines = [line for line in printed if line[0] != "notice"]
    (notice,) = {text for name, text, *_ in printed if name == "notice"}
    assert notice == (
        "A batch of 2 leaves 1 of 3 processes without work: start 2, or --set "
        "training.stages.1.batch=3 or more."
    )
    assert [line[0] for line in lines] == ["begun"] * 4 + ["resumed"] * 2
    for (_, iteration, batch, losses), step in zip(lines, steps(alone), strict=True):
        assert (iteration, batch) == (step.iteration, step.batch)
        assert losses == pytest.approx(step.losses, rel=1e-3)
    one, three = state(tmp_path / "one"), state(tmp_path / "three")
    assert one["iteration"] == three["iteration"] == 6
    for part in ("model", "averages"):
        for name, tensor in one[part].items():
            assert torch.allclose(tensor, three[part][name], atol=1e-4), name
