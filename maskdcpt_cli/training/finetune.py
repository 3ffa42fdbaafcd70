"""Fine-tuning for restoration (Sec. V)."""

from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import nn

from maskdcpt_cli.data.mixture import MixtureEntry, Sample, Samples
from maskdcpt_cli.presets.training import Finetune, load_preset
from maskdcpt_cli.training.distributed import join
from maskdcpt_cli.training.events import Event
from maskdcpt_cli.training.initialise import initialise
from maskdcpt_cli.training.inputs import TrainingData
from maskdcpt_cli.training.launch import launch
from maskdcpt_cli.training.loop import Loop, Stop, never
from maskdcpt_cli.training.losses import Losses, relative_l1, relative_rmse
from maskdcpt_cli.training.metrics import psnr, ssim
from maskdcpt_cli.training.task import Examined, Example, drawn_backbone, options_of, seeded
from maskdcpt_cli.weights.checkpoint import Checkpoint

RELATIVE = {"relative-l1": relative_l1, "relative-rmse": relative_rmse}


def finetune(
    preset: Finetune | str,
    data: TrainingData,
    run_dir: Path | str,
    *,
    resume: bool = False,
    micro_batch: int | None = None,
    device: str | None = None,
    command: Sequence[str] = (),
    stop: Stop = never,
) -> Generator[Event, None, None]:
    """Fine-tune a backbone, and yield what happens.

    The loss is that between the restored and the clean image; see `pretrain` for what is alike.

    All that can be refused is refused by the call itself, before anything is written. Under
    torchrun each process does its part of every batch. Closing the generator saves and leaves, in
    this process; `stop` makes all of them do so, after the same iteration.

    Args:
        preset: what `load_preset` returns, or its name.
        data: the images to train on.
        run_dir: folder of the run; made where it is missing.
        resume: continue the run in `run_dir`, if there is one; torchrun's restarts always do.
        micro_batch: images that go through the network at once; None: a process's whole batch.
        device: as "cuda" or "cpu"; None: a GPU where there is one.
        command: the arguments of the program, to be kept in the run folder.
        stop: asked after each iteration.

    Returns:
        The events of the run, on every process alike; the first one also keeps them in `run_dir`.

    Raises:
        MaskDCPTError: by the call for what cannot work; later for a full disk, for data that cannot
            be read, and when the loss is NaN or infinite again and again.
    """
    resolved = load_preset("finetune", preset) if isinstance(preset, str) else preset
    assert isinstance(resolved, Finetune)
    return launch(
        train, resolved, data, Path(run_dir), kind="finetune",
        resume=resume, micro_batch=micro_batch, device=device, command=command, stop=stop,
    )  # fmt: skip


def train(
    preset: Finetune,
    data: Samples,
    run_dir: Path,
    *,
    validation: Sequence[MixtureEntry] = (),
    name: str | None = None,
    resume: bool = False,
    micro_batch: int | None = None,
    device: str | None = None,
    stop: Stop = never,
) -> Generator[Event, None, None]:
    """Train on samples, without a record of it in the run folder; see `finetune`."""
    task = Finetuning(preset, data.labels, name=name)
    initialised = initialise(task.backbone, preset)
    loop = Loop(
        task, preset, data, run_dir,
        world=join(device), validation=validation, micro_batch=micro_batch, stop=stop,
    )  # fmt: skip
    notice = loop.resume(wanted=resume) or initialised
    return loop.train(notice)


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
