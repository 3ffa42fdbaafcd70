"""What a step of training asks of its device: nothing that it would have to wait for."""

import pytest
import torch

from maskdcpt_cli.data.mixture import Sample, to_float
from maskdcpt_cli.models import BACKBONES
from maskdcpt_cli.models.masking import PatchMask
from maskdcpt_cli.training.distributed import DistributedContext
from maskdcpt_cli.training.pretrain import Pretraining
from maskdcpt_cli.training.trainer import Trainer
from tests.training.runs import LABELS, SIDE, batch_of, pretraining


def batch_on(device: torch.device, *, images: int = 2) -> Sample:
    lq, gt = torch.rand(2, images, 3, SIDE, SIDE).to(device)
    label = torch.zeros(images, dtype=torch.int64, device=device)
    return batch_of(lq, gt, label, torch.arange(images))


@pytest.mark.parametrize("method", ["random", "square", "block-wise"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_shapes_of_a_masked_step_are_known_without_the_values(backbone, method):
    """The meta device has shapes but no values; an operation that needs one raises there."""
    preset = pretraining(backbone=backbone, mask={"method": method})
    task = Pretraining(preset, LABELS)
    task.model.to("meta")
    losses = task.losses(task.model, batch_on(torch.device("meta")))
    losses.total.backward()
    assert losses.total.device.type == "meta"
    trained = (p for p in task.maskdcpt.backbone.parameters() if p.requires_grad)
    assert all(p.grad is not None for p in trained)


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["random", "square", "block-wise"])
def test_a_mask_is_drawn_without_waiting_for_the_gpu_and_is_that_of_the_cpu(method):
    device = torch.device("cuda")
    task = Pretraining(pretraining(mask={"method": method, "patch_size": 4}), LABELS)
    numbers = torch.arange(8)
    cpu = task.mask(numbers, torch.zeros(1, 3, SIDE, SIDE))
    torch.cuda.set_sync_debug_mode("error")
    try:
        gpu = task.mask(numbers, torch.zeros(1, 3, SIDE, SIDE, device=device))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert isinstance(cpu, PatchMask)
    assert isinstance(gpu, PatchMask)
    assert torch.equal(cpu.visible, gpu.visible.cpu())


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_step_waits_for_nothing(precision):
    preset = pretraining(training={"precision": precision, "ema": 0.9}, optimizer={"clip": 0.1})
    context = DistributedContext(torch.device("cuda"))
    trainer = Trainer(Pretraining(preset, LABELS), preset, distributed=context, micro_batch=None)
    batch = batch_on(torch.device("cpu"))
    pinned = batch_of(*(tensor.pin_memory() for tensor in batch[:4]))
    trainer.finish(trainer.step(pinned))  # allocates
    torch.cuda.set_sync_debug_mode("error")
    try:
        step = trainer.step(pinned)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trainer.finish(step).losses["total"] > 0


@pytest.mark.gpu
def test_8_bits_become_the_same_floats_on_a_gpu():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_float(pixels.cuda()).cpu(), to_float(pixels))
