"""Masked degradation classification pre-training (Sec. IV)."""

from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskdcpt_cli.data.mixture import Sample, Samples
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.degradations import CLEAN, removable
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.models.maskdcpt import MaskDCPT
from maskdcpt_cli.models.masking import OnGrid, PatchMask, apply
from maskdcpt_cli.presets.training import Pretrain, load_preset
from maskdcpt_cli.training.calibration import MultiLabelPrediction, Prediction
from maskdcpt_cli.training.distributed import init_distributed
from maskdcpt_cli.training.events import Event
from maskdcpt_cli.training.inputs import TrainingData
from maskdcpt_cli.training.loop import Loop, Stop, never, resumes
from maskdcpt_cli.training.losses import Losses, focal_loss, multi_label_focal_loss
from maskdcpt_cli.training.run_folder import launch
from maskdcpt_cli.training.task import fork_seed, init_backbone, initialise, options_of
from maskdcpt_cli.training.validation import ValidationResult, ValidationSample, psnr
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
    """Pre-train a backbone, and yield the events of the run (Sec. IV).

    Half of each degraded image is hidden; the network reconstructs the clean image and classifies
    the degradation. Each validation calibrates the classifier on pairs that are not trained on, and
    keeps its temperature with the weights, and its thresholds where it is multi-label (ours).

    Everything that can be refused is refused by the call itself, before anything is written. Under
    torchrun or srun each process does its part of every batch. Closing the generator saves and ends
    the run in this process; `stop` ends it in all of them, after the same iteration. On a GPU an
    iteration is reported when the next one has begun.

    Args:
        preset: the result of `load_preset`, or the name of a preset.
        data: the images to train on.
        run_dir: folder of the run; created if it does not exist.
        resume: continue the run in `run_dir`, if there is one; torchrun's restarts always do.
        micro_batch: images that go through the network at once; None: a process's whole batch.
        device: as "cuda" or "cpu"; None: a GPU where there is one.
        command: the arguments of the program, to be kept in the run folder.
        stop: called in each iteration; True ends the run after it.

    Returns:
        A generator of the run's events.

    Yields:
        `Initialised`, `Step`, `Validated`, `Saved` and `Notice` as they happen, on every process
        alike; the first process also keeps them in `run_dir`.

    Raises:
        MaskDCPTError: by the call for settings, data or a run folder that cannot be used; by the
            generator for a full disk, for data that cannot be read, and when the loss is NaN or
            infinite in several iterations in a row.
    """
    resolved = load_preset("pretrain", preset) if isinstance(preset, str) else preset
    if not isinstance(resolved, Pretrain):
        raise MaskDCPTError("The preset is one of finetune, not of pretrain.")
    return launch(
        train, resolved, data, Path(run_dir), kind="pretrain",
        resume=resume, micro_batch=micro_batch, device=device, command=command, stop=stop,
    )  # fmt: skip


def train(
    preset: Pretrain,
    data: Samples,
    run_dir: Path,
    *,
    validation: Sequence[ImageSet] = (),
    name: str | None = None,
    resume: bool = False,
    micro_batch: int | None = None,
    device: str | None = None,
    stop: Stop = never,
) -> Generator[Event, None, None]:
    """Train on samples, without launches, logs and plots in the run folder; see `pretrain`."""
    task = Pretraining(preset, data.labels, name=name)
    initialised = None
    if not resumes(run_dir, requested=resume):
        initialised = initialise(
            task.backbone, preset, classifier=task.maskdcpt.classifier,
            labels=task.labels, multi_label=preset.heads.multi_label,
        )  # fmt: skip
    loop = Loop(
        task, preset, data, run_dir, distributed=init_distributed(device),
        validation=validation, micro_batch=micro_batch, stop=stop,
    )  # fmt: skip
    return loop.train(loop.resume(requested=resume) or initialised)


class Pretraining:
    """The task: reconstruct an image and classify its degradation from its visible part (Eq. 5)."""

    name = "pre-training"

    def __init__(self, preset: Pretrain, labels: Sequence[str], *, name: str | None = None) -> None:
        """Initialise the network with random weights.

        Raises:
            MaskDCPTError: for a network that does not exist, or that the decoders do not fit, and
                crops that do not fit it.
        """
        heads = preset.heads
        self.preset = preset
        self.labels = removable(labels) if heads.multi_label else tuple(labels)
        self.preset_name = name
        self.best_by = "accuracy" if heads.classification else "psnr"
        with fork_seed(preset.training.seed):
            self.backbone = init_backbone(preset, labels)
            try:
                self.maskdcpt = MaskDCPT(
                    self.backbone,
                    classes=len(self.labels),
                    reconstruction=heads.reconstruction > 0,
                    classification=heads.classification > 0,
                    classifier_dims=heads.classifier_dims,
                    reconstruction_dims=heads.reconstruction_dims,
                )
            except ValueError as error:
                raise MaskDCPTError(f"{preset.name or 'The preset'}: {error}") from error
        self._check_crops()

    def _check_crops(self) -> None:
        sides = {stage.crop_size for stage in self.preset.training.stages}
        multiple = self.backbone.size_multiple
        for side in sorted({*sides, self.preset.validation.crop_size}):
            if rest := side % multiple:
                raise MaskDCPTError(
                    f"{self.preset.backbone} is pre-trained on crops whose sides are multiples of "
                    f"{multiple}, and {side} is not: take {max(side - rest, multiple)}."
                )

    @property
    def model(self) -> nn.Module:
        return self.maskdcpt

    def decoders(self) -> Iterable[nn.Parameter]:
        return self.maskdcpt.decoder_parameters()

    def losses(self, model: nn.Module, batch: Sample) -> Losses:
        """Return the losses of a batch; the two passes of DCPT are one here, over twice as many."""
        heads, count = self.preset.heads, len(batch.lq)
        images, number = batch.lq, batch.number
        if heads.clean_pass:
            images, number = torch.cat([images, batch.gt]), number.repeat(2)
        reconstructed, logits = model(images, self.mask(number, images))
        total, parts, accuracy = images.new_zeros(()), {}, None
        load = self.backbone.auxiliary_loss()
        if load is not None:
            parts["load"] = load
            total = total + self.preset.load_loss * load
        if reconstructed is not None:
            parts["reconstruction"] = F.l1_loss(reconstructed[-count:].float(), batch.gt)
            total = total + heads.reconstruction * parts["reconstruction"]
        if logits is not None:
            parts["classification"], accuracy = self._classified(logits[:count].float(), batch)
            total = total + heads.classification * parts["classification"]
        return Losses(total, parts, accuracy)

    def _classified(self, logits: Tensor, batch: Sample) -> tuple[Tensor, Tensor]:
        """Return the loss of the classifier, and the fraction of images with all labels right."""
        heads = self.preset.heads
        if heads.multi_label:
            loss = multi_label_focal_loss(logits, batch.present, gamma=heads.focal_gamma)
            right = ((logits > 0) == batch.present.bool()).all(dim=1)
        else:
            label = self._random_labels(batch) if heads.random_labels else batch.label
            loss = focal_loss(logits, label, gamma=heads.focal_gamma)
            right = logits.argmax(dim=1) == label
        return loss, right.float().mean()

    def _random_labels(self, batch: Sample) -> Tensor:
        """Return a label for each sample, a function of the seed and its number alone."""
        seed, classes = self.preset.training.seed, len(self.labels)
        labels = [
            int(torch.randint(classes, (), generator=_generator(seed, number)))
            for number in batch.number.tolist()
        ]
        return torch.tensor(labels, device=batch.label.device)

    def mask(self, number: Tensor, images: Tensor) -> OnGrid:
        """Return the mask of each sample, a function of the seed and its number (B,) alone.

        So it is the same however a batch is split among processes.
        """
        settings = self.preset.mask
        if not settings.ratio:
            return apply
        seed = self.preset.training.seed
        return PatchMask.draw_each(
            settings.method,
            [_generator(seed, one) for one in number.tolist()],
            size=(images.shape[-2], images.shape[-1]),
            patch_size=settings.patch_size,
            mask_ratio=settings.ratio,
            device=images.device,
        )

    def validate_sample(self, sample: ValidationSample) -> ValidationResult:
        """Reconstruct the masked image, and classify the whole one."""
        scores, prediction = {}, self._predict(sample)
        mask = self.mask(sample.number, sample.lq)
        image = sample.gt if self.preset.heads.clean_pass else sample.lq
        if isinstance(mask, PatchMask):
            image = mask.unpack(mask.pack(image))
        reconstructed = self.maskdcpt(image, mask).reconstructed
        output = image if reconstructed is None else reconstructed
        if reconstructed is not None:
            scores["psnr"] = psnr(reconstructed.float().clip(0, 1), sample.gt)
        if prediction is not None:
            scores["accuracy"] = float(_is_right(prediction))
        return ValidationResult(scores, image[0], output[0], prediction)

    def _predict(self, sample: ValidationSample) -> Prediction | MultiLabelPrediction | None:
        """Classify the whole image; None without a classifier, or without a label."""
        multi_label = self.preset.heads.multi_label
        known = (*self.labels, CLEAN) if multi_label else self.labels
        if self.maskdcpt.classifier is None or sample.degradation not in known:
            return None
        logits = tuple(self.maskdcpt(sample.lq, apply).logits[0].float().tolist())
        if multi_label:
            present = tuple(label == sample.degradation for label in self.labels)
            return MultiLabelPrediction(logits, present)
        return Prediction(logits, self.labels.index(sample.degradation))

    def checkpoint(self) -> Checkpoint:
        classifier = self.maskdcpt.classifier
        return Checkpoint(
            backbone=self.preset.backbone,
            options=options_of(self.backbone),
            state_dict=self.backbone.state_dict(),
            degradations=self.labels,
            preset=self.preset_name,
            classifier={} if classifier is None else classifier.state_dict(),
            multi_label=classifier is not None and self.preset.heads.multi_label,
            restores=False,
        )


def _is_right(prediction: Prediction | MultiLabelPrediction) -> bool:
    """Return whether all labels are right; those of several are called above a logit of 0."""
    if isinstance(prediction, MultiLabelPrediction):
        return tuple(logit > 0 for logit in prediction.logits) == prediction.present
    return bool(np.argmax(prediction.logits) == prediction.label)


def _generator(*seed: int) -> torch.Generator:
    state = np.random.SeedSequence(seed).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
