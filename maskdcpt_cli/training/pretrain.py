"""Masked degradation classification pre-training (Sec. IV)."""

from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskdcpt_cli.data.mixture import MixtureEntry, Sample, Samples
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.models.maskdcpt import MaskDCPT
from maskdcpt_cli.models.masking import OnGrid, PatchMask, apply
from maskdcpt_cli.presets.training import Pretrain, load_preset
from maskdcpt_cli.training.calibration import Answer
from maskdcpt_cli.training.distributed import join
from maskdcpt_cli.training.events import Event
from maskdcpt_cli.training.initialise import initialise
from maskdcpt_cli.training.inputs import TrainingData
from maskdcpt_cli.training.launch import launch
from maskdcpt_cli.training.loop import Loop, Stop, never
from maskdcpt_cli.training.losses import Losses, focal_loss
from maskdcpt_cli.training.metrics import psnr
from maskdcpt_cli.training.task import Examined, Example, drawn_backbone, options_of, seeded
from maskdcpt_cli.weights.checkpoint import Checkpoint


def pretrain(
    preset: Pretrain | str,
    data: TrainingData,
    run_dir: Path | str,
    *,
    resume: bool = False,
    micro_batch: int | None = None,
    device: str | None = None,
    command: Sequence[str] = (),
    stop: Stop = never,
) -> Generator[Event, None, None]:
    """Pre-train a backbone, and yield what happens.

    Half of each degraded image is hidden; the network rebuilds the clean image and classifies the
    degradation (Sec. IV). Each validation calibrates the classifier on pairs that are not trained
    on, and keeps its temperature with the weights.

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
    resolved = load_preset("pretrain", preset) if isinstance(preset, str) else preset
    assert isinstance(resolved, Pretrain)
    return launch(
        train, resolved, data, Path(run_dir), kind="pretrain",
        resume=resume, micro_batch=micro_batch, device=device, command=command, stop=stop,
    )  # fmt: skip


def train(
    preset: Pretrain,
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
    """Train on samples, without a record of it in the run folder; see `pretrain`."""
    task = Pretraining(preset, data.labels, name=name)
    initialised = initialise(
        task.backbone, preset, classifier=task.maskdcpt.classifier, labels=task.labels
    )
    loop = Loop(
        task, preset, data, run_dir,
        world=join(device), validation=validation, micro_batch=micro_batch, stop=stop,
    )  # fmt: skip
    notice = loop.resume(wanted=resume) or initialised
    return loop.train(notice)


class Pretraining:
    """The task: rebuild the clean image and name the degradation from what is visible (Eq. 5)."""

    name = "pre-training"

    def __init__(self, preset: Pretrain, labels: Sequence[str], *, name: str | None = None) -> None:
        """Raises MaskDCPTError for a network, and for crops, that cannot be."""
        heads = preset.heads
        self.preset = preset
        self.labels = tuple(labels)
        self.preset_name = name
        self.best_by = "accuracy" if heads.classification else "psnr"
        with seeded(preset.training.seed):
            self.backbone = drawn_backbone(preset)
            self.maskdcpt = MaskDCPT(
                self.backbone,
                classes=len(labels),
                reconstruction=heads.reconstruction > 0,
                classification=heads.classification > 0,
                classifier_dims=heads.classifier_dims,
                reconstruction_dims=heads.reconstruction_dims,
            )
        self._check_crops()

    def _check_crops(self) -> None:
        sides = {stage.crop_size for stage in self.preset.training.stages}
        for side in sorted({*sides, self.preset.validation.crop_size}):
            if beyond := side % self.backbone.size_multiple:
                raise MaskDCPTError(
                    f"{self.preset.backbone} is pre-trained on crops whose sides are multiples of "
                    f"{self.backbone.size_multiple}, and {side} is none: take {side - beyond}, say."
                )

    @property
    def model(self) -> nn.Module:
        return self.maskdcpt

    def decoders(self) -> Iterable[nn.Parameter]:
        return self.maskdcpt.decoder_parameters()

    def losses(self, model: nn.Module, batch: Sample) -> Losses:
        """Of DCPT's two passes, over the degraded and over the clean images, one is made."""
        heads, count = self.preset.heads, len(batch.lq)
        seen, number = batch.lq, batch.number
        if heads.clean_pass:
            seen, number = torch.cat([seen, batch.gt]), number.repeat(2)
        made, logits = model(seen, self.mask(number, seen))
        total, parts, accuracy = seen.new_zeros(()), {}, None
        if made is not None:
            parts["reconstruction"] = F.l1_loss(made[-count:].float(), batch.gt)
            total = total + heads.reconstruction * parts["reconstruction"]
        if logits is not None:
            logits = logits[:count].float()
            gamma = heads.focal_gamma
            parts["classification"] = focal_loss(logits, batch.label, gamma=gamma)
            total = total + heads.classification * parts["classification"]
            accuracy = (logits.argmax(dim=1) == batch.label).float().mean()
        return Losses(total, parts, accuracy)

    def mask(self, number: Tensor, images: Tensor) -> OnGrid:
        """The mask of each sample, a function of the seed and its number (B,) in the run alone.

        So it is the same however a batch is split among processes.
        """
        how = self.preset.mask
        if not how.ratio:
            return apply
        size = (images.shape[-2], images.shape[-1])
        drawn = [
            PatchMask.draw(
                how.method,
                1,
                size=size,
                patch_size=how.patch_size,
                mask_ratio=how.ratio,
                generator=_generator(self.preset.training.seed, int(one)),
            ).visible
            for one in number
        ]
        mask = PatchMask(torch.cat(drawn), size=size, patch_size=how.patch_size)
        return mask.to(images.device)

    def examine(self, example: Example) -> Examined:
        """The reconstruction of the masked image, and whether the whole one is classified right."""
        scores, answer = {}, self._answer(example)
        mask = self.mask(example.number, example.lq)
        seen = example.gt if self.preset.heads.clean_pass else example.lq
        if isinstance(mask, PatchMask):
            seen = mask.unpack(mask.pack(seen))
        made = self.maskdcpt(seen, mask).reconstructed
        if made is not None:
            scores["psnr"] = psnr(made.float().clip(0, 1), example.gt)
        if answer is not None:
            scores["accuracy"] = float(np.argmax(answer.logits) == answer.label)
        return Examined(scores, seen[0], seen[0] if made is None else made[0], answer)

    def _answer(self, example: Example) -> Answer | None:
        """What the classifier says of the whole image; None without one, or without a label."""
        if self.maskdcpt.classifier is None or example.degradation not in self.labels:
            return None
        logits = self.maskdcpt(example.lq, apply).logits[0].float().tolist()
        return Answer(tuple(logits), self.labels.index(example.degradation))

    def checkpoint(self) -> Checkpoint:
        classifier = self.maskdcpt.classifier
        return Checkpoint(
            backbone=self.preset.backbone,
            options=options_of(self.backbone),
            state_dict=self.backbone.state_dict(),
            degradations=self.labels,
            preset=self.preset_name,
            classifier={} if classifier is None else classifier.state_dict(),
            restores=False,
        )


def _generator(*seed: int) -> torch.Generator:
    state = np.random.SeedSequence(seed).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
