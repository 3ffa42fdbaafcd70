"""Does pre-training help, at the size of the `tiny` presets? Table I in small.

For each seed the tiny network is pre-trained by MaskDCPT and by DCPT, and fine-tuned from both,
from random weights for as long, and from random weights for as long as MaskDCPT's pre-training and
fine-tuning take together. Every run is one of the program's own commands, so that each can be
looked at; what is finished is not done again, and interrupted runs resume.

    python -m recipes.tiny.evidence photos/ --seeds 2 --jobs 2
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import click
import yaml
from matplotlib.figure import Figure

from benchmarks.measure import machine, table
from maskdcpt_cli.degradations import SETTINGS
from maskdcpt_cli.presets.load import load_data
from maskdcpt_cli.training.recorders import read_log
from maskdcpt_cli.training.validation import mean_score
from recipes.tiny.photographs import pack, split

SETTING = "5d"  # of Table I
MASKED, DCPT, NONE = "MaskDCPT", "DCPT", "no pre-training"
LONGER = f"{NONE}, same compute"
PRETRAINED: Mapping[str, tuple[str, ...]] = {
    MASKED: (),
    DCPT: ("mask.ratio=0", "heads.clean_pass=true"),  # as the preset dcpt
}


@dataclass(frozen=True)
class Run:
    """One command of the program and the folder that it fills."""

    folder: Path
    kind: str  # pretrain or finetune
    iterations: int
    seed: int
    data: Path
    settings: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def final(self) -> Path:
        return self.folder / "final.safetensors"

    def do(self, *, threads: int) -> None:
        """Run the command, or what is left of it."""
        if self.final.exists():
            return
        settings = (
            *self.settings,
            f"data={self.data}",
            f"training.iterations={self.iterations}",
            f"training.seed={self.seed}",
        )
        command = [
            *(sys.executable, "-m", "maskdcpt_cli", self.kind, "--preset", "tiny"),
            *("--data-root", str(self.data.parent), "--run-dir", str(self.folder), *self.options),
            *(word for setting in settings for word in ("--set", setting)),
            *(["--resume"] if self.folder.exists() else []),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        with self.folder.with_suffix(".txt").open("a", encoding="utf-8") as log:
            subprocess.run(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, check=True
            )

    @cached_property
    def lines(self) -> list[dict[str, Any]]:
        return list(read_log(self.folder / "log.jsonl"))

    def seconds(self) -> float:
        """Return the median seconds of an iteration: others may have used the processor, too."""
        steps = [line for line in self.lines if "images_per_second" in line]
        return steps[0]["batch"] / median(step["images_per_second"] for step in steps)

    def curve(self, metric: str) -> list[tuple[int, float]]:
        """Return the mean over degradations at each validation."""
        means = [
            (line["iteration"], mean_score(line["scores"], metric))
            for line in self.lines
            if "scores" in line
        ]
        return [(at, mean) for at, mean in means if mean is not None]


class Study:
    """All runs of all seeds."""

    def __init__(
        self,
        out: Path,
        *,
        iterations: tuple[int, int],
        seeds: int,
        jobs: int,
        settings: tuple[str, ...] = (),
    ) -> None:
        """Take `settings` of every fine-tuning, as for --set."""
        self.out = out
        self.data = out / "data.yaml"
        self.pretraining, self.finetuning = iterations
        self.seeds = range(seeds)
        self.jobs = jobs
        self.settings = settings
        self.threads = max(1, (os.cpu_count() or 1) // jobs)

    def pretrained(self, how: str, seed: int) -> Run:
        folder = self.out / f"pretrain-{_word(how)}-{seed}"
        return Run(folder, "pretrain", self.pretraining, seed, self.data, PRETRAINED[how])

    def finetuned(self, how: str, seed: int, *, iterations: int | None = None) -> Run:
        options: tuple[str, ...] = ()
        if how in PRETRAINED:
            options = ("--init-from", str(self.pretrained(how, seed).final))
        folder = self.out / f"finetune-{_word(how)}-{seed}"
        length = iterations or self.finetuning
        return Run(folder, "finetune", length, seed, self.data, self.settings, options)

    def longer(self, seed: int) -> Run:
        """Return the run from random weights that takes the time of pre-training, too."""
        begun = self.finetuned(LONGER, seed).folder / "preset.yaml"
        if begun.exists():  # the length of a run that was begun stays
            stages = yaml.safe_load(begun.read_text(encoding="utf-8"))["training"]["stages"]
            return self.finetuned(LONGER, seed, iterations=sum(s["iterations"] for s in stages))
        pretraining = self.pretrained(MASKED, seed)
        worth = pretraining.seconds() / self.finetuned(NONE, seed).seconds()
        extra = round(self.pretraining * worth)
        return self.finetuned(LONGER, seed, iterations=self.finetuning + extra)

    def runs(self) -> Iterator[tuple[str, int, Run]]:
        """Yield the fine-tuned ones, once all is done."""
        for how, seed in product((MASKED, DCPT, NONE, LONGER), self.seeds):
            yield how, seed, self.longer(seed) if how == LONGER else self.finetuned(how, seed)

    def do(self) -> None:
        with ThreadPoolExecutor(self.jobs) as pool:
            before = [
                pool.submit(self._do, run)
                for seed in self.seeds
                for run in (
                    self.pretrained(MASKED, seed),
                    self.finetuned(NONE, seed),
                    self.pretrained(DCPT, seed),
                )
            ]
            _wait(before)
            after = [
                pool.submit(self._do, run)
                for seed in self.seeds
                for run in (
                    self.longer(seed), self.finetuned(MASKED, seed), self.finetuned(DCPT, seed)
                )
            ]  # fmt: skip
            _wait(after)

    def _do(self, run: Run) -> None:
        print(f"{run.folder.name}: {run.iterations} iterations", flush=True)
        run.do(threads=self.threads)


def _wait(futures: Sequence[Future[None]]) -> None:
    for future in futures:
        future.result()


def _word(how: str) -> str:
    return how.lower().replace(",", "").replace(" ", "-")


def prepare(photos: Sequence[Path], out: Path) -> Path:
    """Write photos for training in shards, others for validation, and the preset of both."""
    data = out / "data.yaml"
    if data.exists():
        return data
    split(photos, out)
    pack(out / "train", out / "shards")
    packed = {"name": "photos", "shards": "shards/index.json", "clean": True}
    unseen = {"name": "photos", "gt": "unseen/{path}"}
    synthesis = {
        part.degradation: part.synthesis.model_dump(exclude_defaults=True)  # as a test set takes it
        for part in load_data(SETTING).train
    }
    content = {
        "setting": SETTING,
        "train": [_part(label, packed, synthesis[label]) for label in SETTINGS[SETTING]],
        "test": [_part(label, unseen, synthesis[label]) for label in SETTINGS[SETTING]],
    }
    data.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return data


def _part(label: str, source: object, synthesis: object) -> dict[str, object]:
    return {"degradation": label, "synthesis": synthesis, "sources": [source]}


def accuracy_rows(study: Study) -> Iterator[list[str]]:
    """Yield accuracy over iterations, mean and spread over the seeds."""
    for how in PRETRAINED:
        curves = [study.pretrained(how, seed).curve("accuracy") for seed in study.seeds]
        yield [
            how,
            *(_spread([value for _, value in at], "{:.1%}") for at in zip(*curves, strict=True)),
        ]


def restoration_rows(study: Study) -> Iterator[list[str]]:
    """Yield PSNR after fine-tuning."""
    for how in (MASKED, DCPT, NONE, LONGER):
        runs = [run for one, _, run in study.runs() if one == how]
        reached = [run.curve("psnr")[-1][1] for run in runs]
        yield [how, f"{runs[0].iterations}", _spread(reached, "{:.2f} dB")]


def _spread(values: Sequence[float], form: str) -> str:
    mean = form.format(fmean(values))
    return f"{mean} ± {form.format(stdev(values))}" if len(values) > 1 else mean


def draw(study: Study, target: Path) -> None:
    """Plot accuracy over pre-training, and PSNR over fine-tuning."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    colours = {MASKED: "C0", DCPT: "C1", NONE: "C2", LONGER: "C3"}
    for how, seed in product(PRETRAINED, study.seeds):
        curve = study.pretrained(how, seed).curve("accuracy")
        left.plot(
            *zip(*curve, strict=True), color=colours[how], marker=".", label="" if seed else how
        )
    left.axhline(1 / len(SETTINGS[SETTING]), color="grey", ls=":", label="chance")
    left.set(xlabel="iteration of pre-training", ylabel="degradation accuracy", ylim=(0, 1))
    for how, seed, run in study.runs():
        curve = run.curve("psnr")
        right.plot(
            *zip(*curve, strict=True), color=colours[how], marker=".", label="" if seed else how
        )
    right.set(xlabel="iteration of fine-tuning", ylabel="PSNR, dB, mean over degradations")
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    figure.savefig(target, dpi=110)


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "-o", "--out", default="results/evidence", show_default=True, type=click.Path(path_type=Path)
)
@click.option("--seeds", default=2, show_default=True)
@click.option("--iterations", nargs=2, default=(800, 3000), show_default=True, help="Of each.")
@click.option("--jobs", default=2, show_default=True, help="Runs at a time.")
@click.option("--set", "settings", multiple=True, help="KEY=VALUE, of every fine-tuning.")
def main(
    photos: tuple[Path, ...],
    out: Path,
    *,
    seeds: int,
    iterations: tuple[int, int],
    jobs: int,
    settings: tuple[str, ...],
) -> None:
    """Pre-train and fine-tune the tiny network in four ways; tables and OUT/evidence.png."""
    prepare(photos, out)
    study = Study(out, iterations=iterations, seeds=seeds, jobs=jobs, settings=settings)
    study.do()
    at = [str(at) for at, _ in study.pretrained(MASKED, 0).curve("accuracy")]
    print(
        f"\n{seeds} seeds, {machine()}. Accuracy of the decoder after iterations of pre-training:\n"
    )
    print(table(["", *at], list(accuracy_rows(study))))
    print("\nPSNR of held-out photos after fine-tuning, mean over degradations:\n")
    print(table(["fine-tuned from", "iterations", "PSNR"], list(restoration_rows(study))))
    draw(study, out / "evidence.png")


if __name__ == "__main__":
    main()
