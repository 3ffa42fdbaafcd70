"""A training run, from its first iteration or any other to its last."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from time import perf_counter

import torch

from maskdcpt_cli.data.loading import load
from maskdcpt_cli.data.mixture import Sample, Samples
from maskdcpt_cli.data.order import Batches, BatchStage
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import shown
from maskdcpt_cli.presets.training import Run
from maskdcpt_cli.training.checkpointing import SKIPPED, CheckpointFolder, how_to_go_on
from maskdcpt_cli.training.distributed import (
    DistributedContext,
    peak_memory,
    physical_memory,
    restarted,
)
from maskdcpt_cli.training.events import Event, Notice, Saved, Step
from maskdcpt_cli.training.optimizer import segment_at
from maskdcpt_cli.training.task import Task
from maskdcpt_cli.training.trainer import StepResult, Trainer
from maskdcpt_cli.training.validation import choose, mean_score, validate

PATIENCE = 5  # iterations in a row that may be skipped
BYTES_PER_PIXEL = 2 * 3 * 4  # of a crop: lq and gt, RGB, float32
MAX_BATCHES = 10  # of skipped iterations of a run that are kept

Stop = Callable[[], bool]


def never() -> bool:
    return False


class Loop:
    """One rank's part of a run."""

    def __init__(
        self,
        task: Task,
        run: Run,
        data: Samples,
        run_dir: Path,
        *,
        distributed: DistributedContext,
        validation: Sequence[ImageSet] = (),
        micro_batch: int | None = None,
        stop: Stop = never,
    ) -> None:
        """Prepare the run.

        Raises:
            MaskDCPTError: for all that can be known to fail before the first iteration.
        """
        self.run = run
        self.distributed = distributed
        self.data = data
        self.stages = rank_stages(run, distributed)
        self.trainer = Trainer(task, run, distributed=distributed, micro_batch=micro_batch)
        self.validation = choose(validation, images=run.validation.images)
        self.folder = CheckpointFolder(run_dir)
        self.stop = stop
        self.saved_at = 0
        self.reported: set[str] = set()  # reasons why images were replaced
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MaskDCPTError(f"The run folder {shown(run_dir)}: {error.strerror}.") from error
        if distributed.is_main:
            self.folder.check_space(self.trainer.state_bytes())

    def resume(self, *, requested: bool) -> Notice | None:
        """Resume from the last checkpoint, if that is requested.

        Raises:
            MaskDCPTError: where there is a checkpoint and it is not requested.
        """
        requested = requested or restarted()
        path = self.folder.state("last")
        if not requested and path.exists():
            raise MaskDCPTError(
                f"'{shown(self.folder.path)}' already holds a run: --resume continues it, "
                "another --run-dir begins a new one."
            )
        state = self.folder.read("last") if requested else None
        if state is not None:
            self.trainer.load(state, name=shown(path))
        self.saved_at = self.trainer.progress.iteration
        if len(set(self.distributed.gather([self.saved_at]))) > 1:
            raise MaskDCPTError(
                f"Not all processes see '{shown(path)}': to resume on several machines, a run must "
                "be in a folder that all of them see."
            )
        if state is None:
            return None
        if self.saved_at == self.run.training.iterations:
            return Notice(
                f"The run in '{shown(self.folder.path)}' is finished: all {self.saved_at} "
                f"iterations are done. {how_to_go_on(self.folder)}"
            )
        return Notice(f"Resuming '{shown(self.folder.path)}' after iteration {self.saved_at}.")

    def train(self, first: Event | None = None) -> Generator[Event, None, None]:
        """Train for all iterations that are left, after a `first` event.

        However it ends, also by an error or when the generator is closed, the state of the last
        complete iteration is saved.
        """
        if first:
            yield first
        progress = self.trainer.progress
        try:
            yield from self._iterate()
        finally:
            if self.trainer.consistent and progress.iteration > self.saved_at:
                deque(self._save("last"), maxlen=0)
        if progress.iteration < self.run.training.iterations:
            yield Notice(f"Stopped after iteration {progress.iteration}; --resume continues.")
        elif self.distributed.is_main:
            path = self.folder.save_final(self.trainer.checkpoint())
            yield Saved(progress.iteration, path)

    def _iterate(self) -> Generator[Event, None, None]:
        progress, stopping = self.trainer.progress, False
        with closing(self._load()) as batches:
            while True:
                if not stopping:
                    yield from self._validate_if_due()
                yield from self._save_if_due()
                if stopping or progress.iteration == self.run.training.iterations:
                    return
                began = perf_counter()
                with _memory_errors(self.run):
                    batch = next(batches)
                    waited = perf_counter() - began
                    result = self.trainer.step(batch, stop=self.stop())
                seconds = perf_counter() - began
                yield from self._report(batch, result, seconds=seconds, waited=waited)
                stopping = result.stop

    def _load(self) -> Generator[Sample, None, None]:
        batches = Batches(
            self.stages,
            rank=self.distributed.rank,
            world=self.distributed.world_size,
            first=self.trainer.progress.iteration,
        )
        return load(
            self.data,
            batches,
            workers=self.run.training.workers,
            pin_memory=self.distributed.device.type == "cuda",
        )

    def _validate_if_due(self) -> Generator[Event, None, None]:
        """Validate; all is done before the first event, as the run may be left at any event."""
        task, trainer, progress = self.trainer.task, self.trainer, self.trainer.progress
        if not self.validation or not self._due(
            self.run.validation.every, last=progress.validated_at
        ):
            return
        with trainer.evaluating():
            validated, unreadable = validate(
                task.validate_sample,
                self.validation,
                crop_size=self.run.validation.crop_size,
                distributed=self.distributed,
                iteration=progress.iteration,
            )
        progress.validated_at = progress.iteration
        progress.temperature = validated.temperature
        score = mean_score(validated.scores, task.best_by)
        saved: list[Saved] = []
        if score is not None and (progress.best is None or score > progress.best):
            progress.best = score
            saved = list(self._save("best"))
        yield from (Notice(f"Not validated: {sentence}") for sentence in unreadable)
        yield validated
        yield from saved

    def _save_if_due(self) -> Generator[Saved, None, None]:
        if self._due(self.run.training.save_every, last=self.saved_at):
            yield from self._save("last")

    def _due(self, every: int, *, last: int) -> bool:
        """Return whether something is due now; it is not repeated where it was done last."""
        iteration = self.trainer.progress.iteration
        at_end = iteration == self.run.training.iterations
        return iteration > last and (iteration % every == 0 or at_end)

    def _save(self, which: str) -> Generator[Saved, None, None]:
        iteration = self.trainer.progress.iteration
        if which == "last":
            self.saved_at = iteration  # even if it fails: a second attempt would fail, too
        if self.distributed.is_main:
            path = self.folder.save(which, self.trainer.state(), self.trainer.checkpoint())
            yield Saved(iteration, path)

    def _report(
        self, batch: Sample, result: StepResult, *, seconds: float, waited: float
    ) -> Generator[Event, None, None]:
        """Report an iteration, and what went wrong in it.

        Raises:
            MaskDCPTError: when PATIENCE iterations in a row were skipped.
        """
        images = len(batch.lq) * self.distributed.world_size
        yield Step(
            iteration=self.trainer.progress.iteration,
            iterations=self.run.training.iterations,
            losses=result.losses,
            accuracy=result.accuracy,
            lr=self.trainer.optimizer.param_groups[0]["lr"],
            batch=images,
            images_per_second=images / seconds,
            waited=waited / seconds,
            memory=peak_memory(self.distributed.device),
            skipped=self.trainer.progress.skipped,
        )
        for reason in batch.skipped:
            if reason not in self.reported:
                self.reported.add(reason)
                yield Notice(f"Replaced by another image: {reason}")
        if not result.updated:
            yield from self._report_skipped(batch, at_fault=result.at_fault)

    def _report_skipped(self, batch: Sample, *, at_fault: bool) -> Generator[Notice, None, None]:
        progress = self.trainer.progress
        if at_fault and progress.skipped <= MAX_BATCHES:
            name = f"{progress.iteration}-{self.distributed.rank}"
            path = self.folder.save_batch(batch, name)
            yield Notice(f"The batch of the skipped iteration is kept: {shown(path)}")
        if progress.skipped_in_a_row >= PATIENCE:
            lr = segment_at(self.run.lr_segments, progress.iteration - 1).schedule.initial
            raise MaskDCPTError(
                f"The loss or its gradient was NaN or infinite in {PATIENCE} iterations in a row, "
                f"up to {progress.iteration}; the batches are in "
                f"'{shown(self.folder.path / SKIPPED)}'. "
                f"A learning rate lower than {lr:g} (--set optimizer.lr.initial=..., or that of "
                "the stage), clipping (--set optimizer.clip=1), or bf16 or fp32 in place of fp16 "
                "may help."
            )
        yield Notice(f"Iteration {progress.iteration} was skipped: its loss was NaN or infinite.")


@contextmanager
def _memory_errors(run: Run) -> Iterator[None]:
    """Turn the errors of allocators within into a sentence of what takes less memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        allocator = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not allocator and "allocate memory" not in str(error):
            raise
        batches = ", ".join(f"{one.batch} crops of {one.crop_size}" for one in run.training.stages)
        raise MaskDCPTError(
            f"There is not enough memory for batches of {batches}: give --micro-batch, or --set a "
            "smaller training.stages.0.batch or .crop_size; --dry-run estimates the memory."
        ) from error


def rank_stages(run: Run, distributed: DistributedContext) -> list[BatchStage]:
    """Return the stages of a run for one rank.

    Raises:
        MaskDCPTError: where a batch cannot be divided evenly among the processes, and where its
            crops alone do not fit into the memory of this machine.
    """
    size, memory = distributed.world_size, physical_memory()
    for number, stage in enumerate(run.training.stages):
        if stage.batch % size:
            raise MaskDCPTError(
                f"A batch of {stage.batch} cannot be divided evenly among {size} processes: "
                "start a number that divides it, or --set another training.stages.0.batch."
            )
        needed = BYTES_PER_PIXEL * stage.crop_size**2 * stage.batch // size
        if needed > memory > 0:
            raise MaskDCPTError(
                f"A batch of {stage.batch // size} crops of {stage.crop_size} pixels takes "
                f"{needed / 1e9:.0f} GB before the first layer, and this machine has "
                f"{memory / 1e9:.0f} GB: --set a smaller training.stages.{number}.batch or "
                ".crop_size."
            )
    return [
        BatchStage(stage.batch // size, stage.crop_size, stage.iterations)
        for stage in run.training.stages
    ]
