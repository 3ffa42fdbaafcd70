"""What a run says of its iterations, and when it gives up."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskdcpt_cli.data.mixture import Sample
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import shown
from maskdcpt_cli.presets.training import Run
from maskdcpt_cli.training.checkpointing import SKIPPED, CheckpointFolder
from maskdcpt_cli.training.events import Event, Notice, Step
from maskdcpt_cli.training.optimizer import segment_at
from maskdcpt_cli.training.stages import stage_index
from maskdcpt_cli.training.steps import LaunchedStep, StepResult
from maskdcpt_cli.training.trainer import Trainer

PATIENCE = 5  # iterations in a row that may be skipped
OVERFLOWS = 20  # in a row: each halves the scale of the loss, from 65536


@dataclass
class Iteration:
    """An iteration that was launched, with the batch of this rank."""

    step: LaunchedStep
    batch: Sample
    waited: float  # seconds for data
    memory: int  # peak bytes
    warm_up: bool
    seconds: float = 0.0  # until the next one began
    result: StepResult | None = None
    skipped: int = 0  # of the run, up to this one
    kept: Path | None = None  # where the batch of a skipped iteration is


class Reports:
    """The events of the iterations of a run."""

    def __init__(self, run: Run, trainer: Trainer, folder: CheckpointFolder) -> None:
        self.run = run
        self.trainer = trainer
        self.folder = folder
        self.reported: set[str] = set()  # reasons why images were replaced

    def of(self, finished: Sequence[Iteration]) -> Generator[Event, None, None]:
        """Report iterations, and what went wrong in them.

        Raises:
            MaskDCPTError: when PATIENCE iterations in a row were skipped.
        """
        for one in finished:
            assert one.result
            stages = self.run.training.stages
            images = stages[stage_index(stages, one.step.iteration - 1)].batch
            yield Step(
                iteration=one.step.iteration,
                iterations=self.run.training.iterations,
                losses=one.result.losses,
                accuracy=one.result.accuracy,
                lr=one.step.lr,
                batch=images,
                images_per_second=images / one.seconds,
                waited=one.waited / one.seconds,
                memory=one.memory,
                skipped=one.skipped,
                warm_up=one.warm_up,
            )
            for reason in one.batch.skipped:
                if reason not in self.reported:
                    self.reported.add(reason)
                    yield Notice(f"Replaced by another image: {reason}")
            if not one.result.updated:
                yield from self._of_skipped(one, one.result)

    def _of_skipped(self, one: Iteration, result: StepResult) -> Generator[Notice, None, None]:
        progress = self.trainer.progress
        if one.kept:
            yield Notice(f"The batch of the skipped iteration is kept: {shown(one.kept)}")
        if progress.skipped_in_a_row >= PATIENCE:
            lr = segment_at(self.run.lr_segments, progress.iteration - 1).schedule.initial
            raise MaskDCPTError(
                f"The loss or its gradient was NaN or infinite in {PATIENCE} iterations in a row, "
                f"up to {one.step.iteration}; the batches are in "
                f"'{shown(self.folder.path / SKIPPED)}'. "
                f"A learning rate lower than {lr:g} (--set optimizer.lr.initial=..., or that of "
                "the stage), clipping (--set optimizer.clip=1), or bf16 or fp32 in place of fp16 "
                "may help."
            )
        if self.trainer.overflowed_in_a_row >= OVERFLOWS:
            raise MaskDCPTError(
                f"The gradient exceeded the range of fp16 in {OVERFLOWS} iterations in a row, up "
                f"to {one.step.iteration}, however small the scale of the loss: "
                "--set training.precision=bf16, or fp32."
            )
        iteration = one.step.iteration
        if result.overflowed:
            yield Notice(
                f"Iteration {iteration} was skipped: its gradient exceeded the range of fp16; the "
                "scale of the loss is halved."
            )
        else:
            yield Notice(f"Iteration {iteration} was skipped: its loss was NaN or infinite.")
