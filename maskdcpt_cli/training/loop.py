"""A training run from its first iteration, or any other, to its last."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from time import perf_counter

import torch

from maskdcpt_cli.data.loading import load
from maskdcpt_cli.data.mixture import MixtureEntry, Sample, Samples
from maskdcpt_cli.data.order import Batches
from maskdcpt_cli.data.order import BatchStage as Share
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import replacing
from maskdcpt_cli.presets.training import Run
from maskdcpt_cli.training.checkpointing import Folder
from maskdcpt_cli.training.distributed import World, restarted
from maskdcpt_cli.training.events import Event, Notice, Saved, Step
from maskdcpt_cli.training.memory import most_bytes
from maskdcpt_cli.training.schedule import phase_at
from maskdcpt_cli.training.task import Task
from maskdcpt_cli.training.trainer import Stepped, Trainer
from maskdcpt_cli.training.validation import Chosen, choose, mean_score, validate

PATIENCE = 5  # iterations in a row that may be skipped
SKIPPED = "skipped"  # the folder of their batches
DUMPS = 10  # of a run: the batches of more skipped iterations are not kept

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
        world: World,
        validation: Sequence[MixtureEntry] = (),
        micro_batch: int | None = None,
        stop: Stop = never,
    ) -> None:
        """Raises MaskDCPTError for all that can be known to fail before the first iteration."""
        self.run = run
        self.world = world
        self.data = data
        self.stages = shares(run, world)
        self.trainer = Trainer(task, run, world=world, micro_batch=micro_batch)
        self.chosen: list[Chosen] = choose(validation, images=run.validation.images)
        self.folder = Folder(run_dir)
        self.stop = stop
        self.saved_at = 0
        self.told: set[str] = set()
        run_dir.mkdir(parents=True, exist_ok=True)
        if world.first:
            self.folder.check_space(self.trainer.state_bytes())

    def resume(self, *, wanted: bool) -> Notice | None:
        """Go on from the last checkpoint, if that is wanted.

        Raises MaskDCPTError where there is one and it is not.
        """
        wanted = wanted or restarted()
        path = self.folder.state("last")
        if not wanted and path.exists():
            raise MaskDCPTError(
                f"'{self.folder.path}' holds a run already: --resume goes on with it, "
                "another --run-dir begins a new one."
            )
        state = self.folder.read("last") if wanted else None
        if state is not None:
            self.trainer.load(state, name=str(path))
        if len(set(self.world.gather([self.trainer.iteration]))) > 1:
            raise MaskDCPTError(
                f"Not all processes see '{path}': to be resumed on several machines, a run must "
                "lie in a folder that they share."
            )
        self.saved_at = self.trainer.iteration
        if state is None:
            return None
        return Notice(f"Going on with '{self.folder.path}' after iteration {self.saved_at}.")

    def train(self, first: Event | None = None) -> Generator[Event, None, None]:
        """Go through all iterations that are left, after a `first` event.

        However it is left, by an error or by closing the generator too, the state of the last whole
        iteration is saved.
        """
        if first:
            yield first
        try:
            yield from self._iterate()
        finally:
            if self.trainer.whole and self.trainer.iteration > self.saved_at:
                deque(self._save("last"), maxlen=0)
        if self.trainer.iteration < self.run.training.iterations:
            yield Notice(f"Stopped after iteration {self.trainer.iteration}; --resume goes on.")
        elif self.world.first:
            yield Saved(self.trainer.iteration, self.folder.finish(self.trainer.checkpoint()))

    def _iterate(self) -> Generator[Event, None, None]:
        batches = Batches(
            self.stages, rank=self.world.rank, world=self.world.size, first=self.trainer.iteration
        )
        loading = load(
            self.data,
            batches,
            workers=self.run.training.workers,
            pin_memory=self.world.device.type == "cuda",
        )
        stopping = False
        with closing(loading):
            while True:
                yield from self._duties(stopping=stopping)
                if stopping or self.trainer.iteration == self.run.training.iterations:
                    return
                began = perf_counter()
                batch = next(loading)
                waited = perf_counter() - began
                stepped = self.trainer.step(batch, stop=self.stop())
                yield self._told(stepped, batch, seconds=perf_counter() - began, waited=waited)
                yield from self._notices(batch, stepped)
                stopping = stepped.stop

    def _duties(self, *, stopping: bool) -> Generator[Event, None, None]:
        """What is due after this many iterations, and was not done before the run was left."""
        wanted = self.chosen and not stopping
        if wanted and self._due(self.run.validation.every, last=self.trainer.validated_at):
            yield from self._validate()
        if self._due(self.run.training.save_every, last=self.saved_at):
            yield from self._save("last")

    def _due(self, every: int, *, last: int) -> bool:
        done = self.trainer.iteration
        return done > last and (done % every == 0 or done == self.run.training.iterations)

    def _told(self, stepped: Stepped, batch: Sample, *, seconds: float, waited: float) -> Step:
        images = len(batch.lq) * self.world.size
        return Step(
            iteration=self.trainer.iteration,
            iterations=self.run.training.iterations,
            losses=stepped.losses,
            accuracy=stepped.accuracy,
            rate=self.trainer.optimiser.param_groups[0]["lr"],
            batch=images,
            images_per_second=images / seconds,
            waited=waited / seconds,
            memory=most_bytes(self.world.device),
            skipped=self.trainer.skipped,
        )

    def _notices(self, batch: Sample, stepped: Stepped) -> Generator[Notice, None, None]:
        """What is to be told of a batch, once.

        Raises MaskDCPTError when PATIENCE iterations in a row gave no step.
        """
        for reason in batch.skipped:
            if reason not in self.told:
                self.told.add(reason)
                yield Notice(f"Another picture took its place: {reason}")
        if stepped.taken:
            return
        trainer = self.trainer
        if stepped.at_fault and trainer.skipped <= DUMPS:
            yield Notice(f"The batch that gave no step is kept: {self._dump(batch)}")
        if trainer.skipped_in_a_row >= PATIENCE:
            rate = phase_at(self.run.phases, trainer.iteration - 1).rate.initial
            raise MaskDCPTError(
                f"The loss or its gradient was NaN or infinite in {PATIENCE} iterations in a row, "
                f"up to {trainer.iteration}; the batches are in '{self.folder.path / SKIPPED}'. "
                f"A rate lower than {rate:g} (--set optimiser.rate.initial=..., or that of the "
                "stage), clipping (--set optimiser.clip=1), or bf16 or fp32 in place of fp16 may "
                "help."
            )
        yield Notice(f"Iteration {trainer.iteration} was skipped: its loss was NaN or infinite.")

    def _dump(self, batch: Sample) -> Path:
        path = self.folder.path / SKIPPED / f"{self.trainer.iteration}-{self.world.rank}.pt"
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as file:
            torch.save({"lq": batch.lq, "gt": batch.gt, "number": batch.number}, file)
        return path

    def _validate(self) -> Generator[Event, None, None]:
        """All is done before anything is told, for the run may be left at any telling."""
        task, trainer = self.trainer.task, self.trainer
        with trainer.evaluating():
            validated, broken = validate(
                task.examine,
                self.chosen,
                crop_size=self.run.validation.crop_size,
                world=self.world,
                iteration=trainer.iteration,
            )
        trainer.validated_at = trainer.iteration
        trainer.temperature = validated.temperature
        score = mean_score(validated.scores, task.best_by)
        saved: list[Saved] = []
        if score is not None and (trainer.best is None or score > trainer.best):
            trainer.best = score
            saved = list(self._save("best"))
        yield from (Notice(f"Not validated: {sentence}") for sentence in broken)
        yield validated
        yield from saved

    def _save(self, which: str) -> Generator[Saved, None, None]:
        if which == "last":
            self.saved_at = self.trainer.iteration  # even if it fails: once is enough
        if self.world.first:
            path = self.folder.save(which, self.trainer.state(), self.trainer.checkpoint())
            yield Saved(self.trainer.iteration, path)


def shares(run: Run, world: World) -> list[Share]:
    """The stages of a run for one rank.

    Raises MaskDCPTError where a batch cannot be shared evenly.
    """
    for stage in run.training.stages:
        if stage.batch % world.size:
            raise MaskDCPTError(
                f"A batch of {stage.batch} cannot be shared evenly by {world.size} processes: "
                "start as many as divide it, or --set another training.stages.0.batch."
            )
    return [
        Share(stage.batch // world.size, stage.crop_size, stage.iterations)
        for stage in run.training.stages
    ]
