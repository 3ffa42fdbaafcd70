"""torch.compile in training: with stages, masks, checkpoints of activations, and DDP."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from maskdcpt_cli.training.distributed import DistributedContext
from maskdcpt_cli.training.events import Notice
from maskdcpt_cli.training.pretrain import Pretraining
from maskdcpt_cli.training.trainer import Trainer
from tests.training.runs import LABELS, finetuning, pretraining, started, steps
from tests.training.test_device import batch_on

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def without_code(monkeypatch):
    """Trace and differentiate as always, but generate no code, which takes minutes."""
    compile_ = nn.Module.compile

    def traced(self: nn.Module, **how: bool) -> None:
        compile_(self, backend="aot_eager", **how)

    monkeypatch.setattr(nn.Module, "compile", traced)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def test_each_stage_compiles_once_and_says_what_it_costs(tmp_path):
    stages = [{"iterations": 2, "crop_size": side, "batch": 2} for side in (16, 24)]
    plain = steps(started(finetuning(training={"stages": stages}), tmp_path / "plain"))
    compiled = finetuning(training={"stages": stages, "compile": True})
    events = list(started(compiled, tmp_path / "compiled"))
    for one, other in zip(plain, steps(events), strict=True):
        assert one.losses == pytest.approx(other.losses, rel=1e-4)
        assert one.warm_up
    texts = [event.text.split(" took ")[0] for event in events if isinstance(event, Notice)]
    assert texts == [
        "Compiling for 2 crops of 16 pixels of a process: this step may take minutes.",
        "The first step of 2 crops of 16 pixels",
        "Compiling for 2 crops of 24 pixels of a process: this step may take minutes.",
        "The first step of 2 crops of 24 pixels",
    ]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2


def loss_of(preset, *, ddp: bool, iterations: int = 2) -> float:
    """Return the loss of the last of some iterations of a masked run."""
    task = Pretraining(preset, LABELS)
    trainer = Trainer(task, preset, distributed=DistributedContext(CPU), micro_batch=None)
    if ddp:
        trainer.wrapped = DistributedDataParallel(task.model, gradient_as_bucket_view=True)
    torch.manual_seed(0)
    batch = batch_on(CPU)
    for _ in range(iterations):
        result = trainer.finish(trainer.step(batch))
    return result.losses["total"]


@pytest.fixture
def one_rank(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/ranks", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.slow
def test_masks_checkpoints_and_ddp_compile(one_rank):
    expected = loss_of(pretraining(), ddp=False)
    changes = {"compile": True, "checkpointing": True}
    compiled = loss_of(pretraining(training=changes), ddp=True)
    assert compiled == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_other_masks_of_the_same_shape_do_not_compile_again():
    preset = pretraining(training={"compile": True})
    task = Pretraining(preset, LABELS)
    trainer = Trainer(task, preset, distributed=DistributedContext(CPU), micro_batch=None)
    batch = batch_on(CPU)
    for first in (0, 2, 4):
        trainer.finish(trainer.step(batch._replace(number=torch.arange(first, first + 2))))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
