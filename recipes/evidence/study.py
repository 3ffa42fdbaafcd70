"""The arms of the study and its runs."""

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

from recipes.evidence.data import DataPresets
from recipes.evidence.runs import Run, write_first_weights


class Arm(NamedTuple):
    """Where fine-tuning begins, and how long it lasts."""

    pretraining: tuple[str, ...] | None  # settings of pre-training; None: random weights
    same_compute: bool = False  # fine-tuned for as long as pre-training and fine-tuning together


RANDOM, SAME_COMPUTE, MASKDCPT = "random weights", "random weights, same compute", "MaskDCPT"
ARMS: Mapping[str, Arm] = {
    RANDOM: Arm(None),
    MASKDCPT: Arm(()),
    SAME_COMPUTE: Arm(None, same_compute=True),
    "DCPT": Arm(("mask.ratio=0", "heads.clean_pass=true")),
    "classification alone": Arm(("heads.reconstruction=0",)),
    "reconstruction alone": Arm(("heads.classification=0",)),
    "random labels": Arm(("heads.random_labels=true",)),
    "nothing hidden": Arm(("mask.ratio=0",)),
}
MAIN = (RANDOM, MASKDCPT, SAME_COMPUTE)


class Condition(NamedTuple):
    """What the arms are compared under."""

    few: bool  # photos of fine-tuning
    lr: float  # at its highest


@dataclass(frozen=True)
class Study:
    """All runs of some arms."""

    out: Path
    data: DataPresets
    preset: str
    iterations: tuple[int, int]  # of pre-training and fine-tuning
    seeds: Sequence[int]
    conditions: Sequence[Condition]
    arms: Sequence[str] = MAIN
    settings: tuple[str, ...] = ()  # of both trainings, KEY=VALUE

    def pretrained(self, arm: str, seed: int) -> Run | None:
        settings = ARMS[arm].pretraining
        if settings is None:
            return None
        folder = self.out / f"pretrain-{_word(arm)}-{seed}"
        return Run(
            folder, "pretrain", self.preset, self.data.pretraining, seed, self.iterations[0],
            (
                *self.settings,
                *settings,
                f"training.keep_every={max(self.iterations[0] // 8, 1)}",
            ),
        )  # fmt: skip

    def finetuned(self, condition: Condition, arm: str, seed: int) -> Run:
        few, lr = condition
        folder = self.out / f"finetune-{_word(arm)}-{'few-' if few else ''}{lr:g}-{seed}"
        run = Run(
            folder,
            "finetune",
            self.preset,
            self.data.few if few else self.data.finetuning,
            seed,
            self.iterations[1],
            (*self.settings, f"optimizer.lr.initial={lr:g}"),
            self._first_weights(arm, seed),
        )
        if not ARMS[arm].same_compute:
            return run
        return replace(run, iterations=self._same_compute(condition, seed, begun=run))

    def do(self, *, jobs: int) -> None:
        """Do all runs that are not done, so many at a time."""
        threads = max(1, (os.cpu_count() or 1) // jobs)
        pretrained = [self.pretrained(*one) for one in product(self.arms, self.seeds)]
        _do(filter(None, pretrained), threads=threads, jobs=jobs)
        for arm, seed in product(self.arms, self.seeds):
            self._write_first_weights(arm, seed)
        for same_compute in (False, True):
            arms = [arm for arm in self.arms if ARMS[arm].same_compute == same_compute]
            every = product(self.seeds, self.conditions, arms)
            runs = (self.finetuned(condition, arm, seed) for seed, condition, arm in every)
            _do(runs, threads=threads, jobs=jobs)

    def _first_weights(self, arm: str, seed: int) -> Path:
        begun_as = RANDOM if ARMS[arm].pretraining is None else arm
        return self.out / "first-weights" / f"{_word(begun_as)}-{seed}.safetensors"

    def _write_first_weights(self, arm: str, seed: int) -> None:
        path, pretrained = self._first_weights(arm, seed), self.pretrained(arm, seed)
        if not path.exists():
            encoder = pretrained.final if pretrained else None
            write_first_weights(
                path,
                preset=self.preset,
                seed=seed,
                settings=self.settings,
                pretrained=encoder,
            )

    def _same_compute(self, condition: Condition, seed: int, *, begun: Run) -> int:
        """Return how many iterations last as long as those of pre-training and fine-tuning."""
        if iterations := begun.begun_iterations():
            return iterations
        pretraining, finetuning = self.iterations
        pretrained = self.pretrained(MASKDCPT, seed)
        assert pretrained is not None
        worth = pretrained.seconds() / self.finetuned(condition, RANDOM, seed).seconds()
        return finetuning + round(pretraining * worth)


def _do(runs: Iterable[Run], *, threads: int, jobs: int) -> None:
    def do(run: Run) -> None:
        print(f"{run.folder.name}: {run.iterations} iterations", flush=True)
        run.do(threads=threads)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(do, runs))


def _word(arm: str) -> str:
    return arm.lower().replace(",", "").replace(" ", "-")
