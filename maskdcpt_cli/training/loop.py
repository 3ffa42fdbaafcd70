"""A training run, from its first iteration or any other to its last."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from math import isfinite
from pathlib import Path
from time import perf_counter

from maskdcpt_cli.data.loading import load
from maskdcpt_cli.data.mixture import Sample, Samples
from maskdcpt_cli.data.order import Batches
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import shown
from maskdcpt_cli.presets.training import Run
from maskdcpt_cli.training.checkpointing import CheckpointFolder, how_to_go_on
from maskdcpt_cli.training.distributed import (
    DistributedContext,
    algorithms,
    peak_memory,
    reset_peak_memory,
    restarted,
)
from maskdcpt_cli.training.events import Event, Notice, Saved
from maskdcpt_cli.training.failures import ending_together
from maskdcpt_cli.training.optimizer import lr_at
from maskdcpt_cli.training.reports import Iteration, Reports
from maskdcpt_cli.training.stages import (
    batch_stages,
    largest_local_batch,
    memory_errors,
    stage_index,
    training_memory,
)
from maskdcpt_cli.training.task import Task
from maskdcpt_cli.training.trainer import Trainer
from maskdcpt_cli.training.validation import choose, mean_score, validate

WARM_UP = 2  # iterations of a stage that compile, try algorithms, and fill the queues of data
MAX_BATCHES = 10  # of skipped iterations of a run that are kept

Stop = Callable[[], bool]


def never() -> bool:
    return False


def resumes(run_dir: Path, *, requested: bool) -> bool:
    """Return whether a run goes on from a state, which has all its weights."""
    return (requested or restarted()) and CheckpointFolder(run_dir).state("last").exists()


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
        self.stages = batch_stages(run, distributed)
        with (
            algorithms(distributed.device, deterministic=run.training.deterministic),
            training_memory(run),
        ):
            self.trainer = Trainer(task, run, distributed=distributed, micro_batch=micro_batch)
        self.validation = choose(validation, images=run.validation.images)
        self.folder = CheckpointFolder(run_dir)
        self.stop = stop
        self.saved_at = 0
        self.kept_at = 0
        self.stopping = False
        self.launched: deque[Iteration] = deque()  # not finished yet
        self.stage: int | None = None  # of the last iteration of this process
        self.stage_began = 0  # iteration
        self.reports = Reports(run, self.trainer, self.folder)
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MaskDCPTError(f"The run folder {shown(run_dir)}: {error.strerror}.") from error
        if distributed.is_main:
            kept = run.training.iterations // (
                run.training.keep_every or run.training.iterations + 1
            )
            self.folder.check_space(
                self.trainer.state_bytes(), kept_bytes=kept * self.trainer.weights_bytes()
            )

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
        with memory_errors("read the state of the run", "end other programs, or wait for them"):
            state = self.folder.read("last") if requested else None
        if state is not None:
            with training_memory(self.run):
                self.trainer.load(state, name=shown(path))
        self.saved_at = self.trainer.progress.iteration
        self.kept_at = self.saved_at - (not self.folder.kept(self.saved_at).exists())
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
        if self.folder.weights("final").exists():
            return self._extend()
        return Notice(f"Resuming '{shown(self.folder.path)}' after iteration {self.saved_at}.")

    def _extend(self) -> Notice:
        """Keep the result of a finished run, which goes on with further stages."""
        if self.distributed.is_main:
            self.folder.keep_final(self.saved_at)
        rates = {"": self.run.lr_segments, " of the decoders": self.run.decoder_lr_segments}
        stated = [f"{lr_at(of, self.saved_at):.2g}{whose}" for whose, of in rates.items()]
        return Notice(
            f"Extending '{shown(self.folder.path)}' from {self.saved_at} to "
            f"{self.run.training.iterations} iterations, with a learning rate of "
            f"{' and '.join(stated if self.run.optimizer.decoder_lr else stated[:1])}; the weights "
            f"until now are kept as '{shown(self.folder.kept(self.saved_at))}'."
        )

    def train(self, *first: Event | None) -> Generator[Event, None, None]:
        """Train for all iterations that are left, after the `first` events.

        However it ends, also by an error or when the generator is closed, the state of the last
        complete iteration is saved.
        """
        with ending_together(self.distributed) as ending:
            yield from self._train(first, ending)

    def _train(
        self, first: Iterable[Event | None], ending: threading.Event
    ) -> Generator[Event, None, None]:
        yield from filter(None, first)
        progress, training = self.trainer.progress, self.run.training
        try:
            with algorithms(self.distributed.device, deterministic=training.deterministic):
                yield from self._iterate()
        finally:
            ending.set()
            if self.trainer.consistent and progress.iteration > self.saved_at:
                self._finish(pending=0)
                deque(self._save("last"), maxlen=0)
        if progress.iteration < training.iterations:
            yield Notice(f"Stopped after iteration {progress.iteration}; --resume continues.")
        elif self.distributed.is_main:
            path = self.folder.save_final(self.trainer.checkpoint())
            yield Saved(progress.iteration, path)

    def _iterate(self) -> Generator[Event, None, None]:
        with closing(self._load()) as batches:
            while True:
                if self.stopping or self._any_due():
                    yield from self.reports.of(self._finish(pending=0))
                if not self.stopping or self._at_end():
                    crop = self.run.validation.crop_size
                    with memory_errors(
                        f"validate on crops of {crop}", "--set a smaller validation.crop_size"
                    ):
                        yield from self._validate_if_due()
                yield from self._keep_if_due()
                yield from self._save_if_due()
                if self.stopping or self._at_end():
                    return
                yield from self._begin_stage()
                began = perf_counter()
                with training_memory(self.run):
                    self._launch(batches)
                    # A GPU computes an iteration while the host prepares the next one.
                    finished = self._finish(pending=1 if self.trainer.deferred else 0)
                seconds = perf_counter() - began
                (self.launched or finished)[-1].seconds = seconds
                yield from self._compiled(seconds)
                yield from self.reports.of(finished)

    def _begin_stage(self) -> Generator[Notice, None, None]:
        """Prepare for the batches of another stage, where the next iteration begins one."""
        iteration = self.trainer.progress.iteration
        index = stage_index(self.stages, iteration)
        if index == self.stage:
            return
        self.stage, self.stage_began = index, iteration
        reset_peak_memory(self.distributed.device)
        batch, processes = self.stages[index].batch, self.distributed.world_size
        if batch < processes:
            yield Notice(
                f"A batch of {batch} leaves {processes - batch} of {processes} processes without "
                f"work: start {batch}, or --set training.stages.{index}.batch={processes} or more."
            )
        if self.run.training.compile:
            yield Notice(f"Compiling for {self._crops()} of a process: this step may take minutes.")

    def _compiled(self, seconds: float) -> Generator[Notice, None, None]:
        """Report the time of a step that compiled."""
        first = self.trainer.progress.iteration == self.stage_began + 1
        if self.run.training.compile and first:
            yield Notice(f"The first step of {self._crops()} took {seconds:.0f} s to compile.")

    def _crops(self) -> str:
        stage = self.stages[self.stage or 0]
        batch = largest_local_batch(stage.batch, self.distributed)
        return f"{self.trainer.micro_batch or batch} crops of {stage.crop_size} pixels"

    def _launch(self, batches: Generator[Sample, None, None]) -> None:
        """Launch an iteration."""
        began = perf_counter()
        batch = next(batches)
        waited = perf_counter() - began
        step = self.trainer.step(batch, stop=self.stop())
        # Of the first one after the queue was emptied, only the host's seconds are known.
        alone = self.trainer.deferred and not self.launched
        warm_up = alone or step.iteration - self.stage_began <= WARM_UP
        memory = peak_memory(self.distributed.device)
        self.launched.append(Iteration(step, batch, waited, memory, warm_up))

    def _finish(self, *, pending: int) -> list[Iteration]:
        """Wait for iterations until only some are pending; keep the batches of skipped ones."""
        finished = []
        while len(self.launched) > pending:
            iteration = self.launched.popleft()
            finished.append(iteration)
            result = self.trainer.finish(iteration.step)
            self.stopping = self.stopping or result.stop
            if result.at_fault and self.trainer.progress.skipped <= MAX_BATCHES:
                name = f"{iteration.step.iteration}-{self.distributed.rank}"
                iteration.kept = self.folder.save_batch(iteration.batch, name)
            iteration.result, iteration.skipped = result, self.trainer.progress.skipped
        return finished

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
        if not self._validation_due():
            return
        with trainer.evaluating():
            validated, notices = validate(
                task.validate_sample, self.validation, labels=task.labels,
                crop_size=self.run.validation.crop_size,
                distributed=self.distributed, iteration=progress.iteration,
            )  # fmt: skip
        before = progress.validated_at, progress.best
        progress.validated_at = progress.iteration
        progress.temperature = validated.temperature
        progress.thresholds = dict(validated.thresholds)
        score = mean_score(validated.scores, task.best_by)
        saved: list[Saved] = []
        # An overflow in one image may make it NaN, which nothing is above.
        if (
            score is not None
            and isfinite(score)
            and (progress.best is None or score > progress.best)
        ):
            progress.best = score
            try:
                saved = list(self._save("best"))
            except BaseException:  # or a run that resumes would take it for saved
                progress.validated_at, progress.best = before
                raise
        yield from map(Notice, notices)
        yield validated
        yield from saved

    def _save_if_due(self) -> Generator[Saved, None, None]:
        if self._saving_due():
            yield from self._save("last")

    def _keep_if_due(self) -> Generator[Saved, None, None]:
        if not self._keeping_due():
            return
        iteration = self.kept_at = self.trainer.progress.iteration
        if self.distributed.is_main:
            yield Saved(iteration, self.folder.save_kept(iteration, self.trainer.checkpoint()))

    def _any_due(self) -> bool:
        return self._validation_due() or self._keeping_due() or self._saving_due()

    def _keeping_due(self) -> bool:
        every, iteration = self.run.training.keep_every, self.trainer.progress.iteration
        return bool(every) and iteration > max(self.kept_at, 0) and not iteration % (every or 1)

    def _validation_due(self) -> bool:
        every, last = self.run.validation.every, self.trainer.progress.validated_at
        return bool(self.validation) and self._due(every, last=last)

    def _saving_due(self) -> bool:
        return self._due(self.run.training.save_every, last=self.saved_at)

    def _due(self, every: int, *, last: int) -> bool:
        """Return whether something is due now; it is not repeated where it was done last."""
        iteration = self.trainer.progress.iteration
        return iteration > last and (iteration % every == 0 or self._at_end())

    def _at_end(self) -> bool:
        return self.trainer.progress.iteration == self.run.training.iterations

    def _save(self, which: str) -> Generator[Saved, None, None]:
        iteration = self.trainer.progress.iteration
        if which == "last":
            self.saved_at = iteration  # even if it fails: a second attempt would fail, too
        if self.distributed.is_main:
            path = self.folder.save(which, self.trainer.state(), self.trainer.checkpoint())
            yield Saved(iteration, path)
