"""Fine-tuning for restoration (Sec. V)."""

from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

from torch import Tensor, nn

from maskdcpt_cli.data.mixture import Sample, Samples
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.degradations import removable
from maskdcpt_cli.errors import MaskDCPTError, unknown
from maskdcpt_cli.presets.training import Finetune, load_preset
from maskdcpt_cli.training.conductance import (
    CONDUCTANCE,
    LayerSelection,
    select_layers,
    train_only,
)
from maskdcpt_cli.training.distributed import DistributedContext, algorithms, init_distributed
from maskdcpt_cli.training.events import Event, Notice
from maskdcpt_cli.training.inputs import TrainingData
from maskdcpt_cli.training.loop import Loop, Stop, never, resumes
from maskdcpt_cli.training.losses import LOSSES, Losses
from maskdcpt_cli.training.run_folder import launch
from maskdcpt_cli.training.stages import memory_errors
from maskdcpt_cli.training.task import fork_seed, init_backbone, initialise, options_of
from maskdcpt_cli.training.validation import ValidationResult, ValidationSample, psnr, ssim
from maskdcpt_cli.weights.checkpoint import Checkpoint


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
    """Fine-tune a backbone for restoration, and yield the events of the run (Sec. V).

    The loss is between the restored and the clean image, as the preset says.

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
    resolved = load_preset("finetune", preset) if isinstance(preset, str) else preset
    if not isinstance(resolved, Finetune):
        raise MaskDCPTError("The preset is one of pretrain, not of finetune.")
    return launch(
        train, resolved, data, Path(run_dir), kind="finetune",
        resume=resume, micro_batch=micro_batch, device=device, command=command, stop=stop,
    )  # fmt: skip


def train(
    preset: Finetune,
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
    """Train on samples, without launches, logs and plots in the run folder; see `finetune`."""
    task = Finetuning(preset, data.labels, name=name)
    continues = resumes(run_dir, requested=resume)
    initialised = None if continues else initialise(task.backbone, preset, labels=task.labels)
    distributed = init_distributed(device)
    selection = task.select(data, run_dir, distributed=distributed, continues=continues)
    loop = Loop(
        task, preset, data, run_dir, distributed=distributed,
        validation=validation, micro_batch=micro_batch, stop=stop,
    )  # fmt: skip
    resumed = loop.resume(requested=resume)
    if selection is None or resumed:
        return loop.train(resumed or initialised)
    if distributed.is_main:
        selection.write(run_dir)
    return loop.train(initialised, Notice(task.describe(selection)))


class Finetuning:
    """The task: restore the clean image."""

    name = "fine-tuning"
    best_by = "psnr"

    def __init__(self, preset: Finetune, labels: Sequence[str], *, name: str | None = None) -> None:
        """Initialise the network with random weights.

        Raises:
            MaskDCPTError: for a network or a loss that does not exist.
        """
        if preset.loss not in LOSSES:
            raise MaskDCPTError(unknown("loss", preset.loss, LOSSES))
        self.preset = preset
        self.labels = tuple(labels)
        self.preset_name = name
        with fork_seed(preset.training.seed):
            self.backbone = init_backbone(preset, labels)

    def select(
        self, data: Samples, run_dir: Path, *, distributed: DistributedContext, continues: bool
    ) -> LayerSelection | None:
        """Freeze all layers but those of the highest conductance, if the preset says so.

        A run that resumes trains the layers of its folder.

        Raises:
            MaskDCPTError: for a network that is not pre-trained.
        """
        settings, training = self.preset.conductance, self.preset.training
        if settings is None:
            return None
        if self.preset.initialise_from is None:
            raise MaskDCPTError(
                "conductance selects the layers of a pre-trained network: give its weights by "
                "--init-from, or --set conductance=null."
            )
        if continues:
            selection = LayerSelection.read(run_dir)
        else:
            deterministic = training.deterministic
            with (
                algorithms(distributed.device, deterministic=deterministic),
                memory_errors(
                    f"measure the conductance of layers on crops of {training.stages[0].crop_size}",
                    "--set a smaller training.stages.0.crop_size, or conductance=null",
                ),
            ):
                selection = select_layers(
                    self.backbone,
                    lambda lq, request: self.backbone(lq, *self.requests(request)).float(),
                    data, settings, seed=training.seed, crop_size=training.stages[0].crop_size,
                    distributed=distributed,
                )  # fmt: skip
        train_only(self.backbone, selection.trained)
        return selection

    def describe(self, selection: LayerSelection) -> str:
        """Return a sentence about the layers that are trained."""
        sizes = [(p.numel(), p.requires_grad) for p in self.backbone.parameters()]
        own, whole = sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)
        return (
            f"{len(selection.trained)} of {len(selection.conductance)} layers are trained, "
            f"{own / 1e6:.2f} of {whole / 1e6:.2f} million parameters: {CONDUCTANCE} lists them."
        )

    @property
    def model(self) -> nn.Module:
        return self.backbone

    def decoders(self) -> Iterable[nn.Parameter]:
        return ()

    def losses(self, model: nn.Module, batch: Sample) -> Losses:
        restored = model(batch.lq, *self.requests(batch.request)).float()
        loss = LOSSES[self.preset.loss](restored, batch.lq, batch.gt)
        load = self.backbone.auxiliary_loss()
        if load is None:
            return Losses(loss)
        total = loss + self.preset.load_loss * load
        return Losses(total, {"restoration": loss, "load": load})

    def requests(self, request: Tensor) -> tuple[Tensor, ...]:
        """Return a request by itself, or nothing for a network that takes no request."""
        return (request,) if self.backbone.request_types else ()

    def validate_sample(self, sample: ValidationSample) -> ValidationResult:
        """Restore an image, asked for what it has."""
        present = [float(label == sample.degradation) for label in removable(self.labels)]
        restored = self.backbone(sample.lq, *self.requests(sample.lq.new_tensor([present])))
        restored = restored.float().clip(0, 1)
        scores = {"psnr": psnr(restored, sample.gt), "ssim": ssim(restored, sample.gt)}
        return ValidationResult(scores, sample.lq[0], restored[0])

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            backbone=self.preset.backbone,
            options=options_of(self.backbone),
            state_dict=self.backbone.state_dict(),
            degradations=self.labels,
            preset=self.preset_name,
        )
