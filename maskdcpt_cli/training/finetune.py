"""Fine-tuning for restoration (Sec. V)."""

from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import nn

from maskdcpt_cli.data.mixture import Ingredient, Sample, Samples
from maskdcpt_cli.presets.training import Finetune
from maskdcpt_cli.training.distributed import join
from maskdcpt_cli.training.events import Event
from maskdcpt_cli.training.initialise import initialise
from maskdcpt_cli.training.loop import Loop, Stop, never
from maskdcpt_cli.training.losses import Losses, relative_l1, relative_rmse
from maskdcpt_cli.training.metrics import psnr, ssim
from maskdcpt_cli.training.task import Examined, Example, drawn_backbone, options_of, seeded
from maskdcpt_cli.weights.checkpoint import Checkpoint

RELATIVE = {"relative-l1": relative_l1, "relative-rmse": relative_rmse}


def finetune(
    preset: Finetune,
    data: Samples,
    run_dir: Path,
    *,
    validation: Sequence[Ingredient] = (),
    name: str | None = None,
    resume: bool = False,
    micro_batch: int | None = None,
    device: str | None = None,
    stop: Stop = never,
) -> Generator[Event, None, None]:
    """Fine-tune a backbone, and yield what happens; see pretrain."""
    task = Finetuning(preset, data.labels, name=name)
    initialised = initialise(task.backbone, preset)
    loop = Loop(
        task, preset, data, run_dir,
        world=join(device), validation=validation, micro_batch=micro_batch, stop=stop,
    )  # fmt: skip
    if notice := loop.resume(wanted=resume):
        yield notice
    elif initialised:
        yield initialised
    yield from loop.train()


class Finetuning:
    """The task: restore the clean image."""

    name = "fine-tuning"
    best_by = "psnr"

    def __init__(self, preset: Finetune, labels: Sequence[str], *, name: str | None = None) -> None:
        self.preset = preset
        self.labels = tuple(labels)
        self.preset_name = name
        with seeded(preset.training.seed):
            self.backbone = drawn_backbone(preset)

    @property
    def model(self) -> nn.Module:
        return self.backbone

    def decoders(self) -> Iterable[nn.Parameter]:
        return ()

    def losses(self, model: nn.Module, batch: Sample) -> Losses:
        restored = model(batch.lq).float()
        if self.preset.loss == "l1":
            return Losses(F.l1_loss(restored, batch.gt))
        return Losses(RELATIVE[self.preset.loss](restored, batch.lq, batch.gt))

    def examine(self, example: Example) -> Examined:
        restored = self.backbone(example.lq).float().clip(0, 1)
        scores = {"psnr": psnr(restored, example.gt), "ssim": ssim(restored, example.gt)}
        return Examined(scores, example.lq[0], restored[0])

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            backbone=self.preset.backbone,
            options=options_of(self.backbone),
            state_dict=self.backbone.state_dict(),
            degradations=self.labels,
            preset=self.preset_name,
        )
