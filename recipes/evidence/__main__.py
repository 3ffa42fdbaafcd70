"""Pre-train and fine-tune a network from several beginnings, and compare what is reached.

A benefit of pre-training is, said beforehand, at least 0.3 dB with its 95 % interval above 0. What
is finished is not done again, and interrupted runs resume: the same command goes on.

    python -m recipes.evidence photos/ --seeds 2 --jobs 2
    python -m recipes.evidence photos/ --controls
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import click
from matplotlib.figure import Figure

from benchmarks.measure import machine, table
from recipes.evidence.data import FEW, prepare
from recipes.evidence.scores import image_scores, psnr_change
from recipes.evidence.study import ARMS, MAIN, RANDOM, SAME_COMPUTE, Condition, Study

LRS = (3e-4, 1e-3)


def rows(study: Study) -> Iterator[list[str]]:
    """Yield what each arm reaches under each condition, and its PSNR change from random weights."""
    for condition in study.conditions:
        scores = {
            arm: [
                image_scores(
                    study.finetuned(condition, arm, seed).final,
                    study.data.finetuning,
                    study.out / "scores",
                )
                for seed in study.seeds
            ]
            for arm in study.arms
        }
        for arm, ours in scores.items():
            reached = [sum(one.values()) / len(one) for one in ours]
            yield [
                arm,
                str(FEW) if condition.few else "all",
                f"{condition.lr:g}",
                str(study.finetuned(condition, arm, study.seeds[0]).iterations),
                ", ".join(f"{psnr:.2f}" for psnr in reached),
                *(
                    str(psnr_change(to=ours, of=scores[other]))
                    if other in scores and other != arm
                    else ""
                    for other in (RANDOM, SAME_COMPUTE)
                ),
            ]


def draw(study: Study, target: Path) -> None:
    """Plot the PSNR of validation over fine-tuning, a panel for each condition."""
    figure = Figure(figsize=(5.5 * len(study.conditions), 4.2), layout="constrained")
    panels = figure.subplots(1, len(study.conditions), squeeze=False)[0]
    for axis, condition in zip(panels, study.conditions, strict=True):
        for (number, arm), seed in product(enumerate(study.arms), study.seeds):
            points = list(study.finetuned(condition, arm, seed).curve("psnr"))
            axis.plot(
                [at for at, _ in points], [psnr for _, psnr in points], color=f"C{number}",
                marker=".", label="" if seed != study.seeds[0] else arm,
            )  # fmt: skip
        title = f"{FEW if condition.few else 'all'} photos, lr {condition.lr:g}"
        axis.set(title=title, xlabel="iteration of fine-tuning", ylabel="PSNR, dB")
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    figure.savefig(target, dpi=110)


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "-o", "--out", default="results/evidence", show_default=True, type=click.Path(path_type=Path)
)
@click.option("--preset", default="evidence", show_default=True, help="Of both trainings.")
@click.option("--seeds", default=2, show_default=True)
@click.option("--iterations", nargs=2, default=(8000, 8000), show_default=True, help="Of each.")
@click.option("--lr", "lrs", multiple=True, type=float, default=LRS, show_default=True)
@click.option("--set", "settings", multiple=True, help="KEY=VALUE, for both trainings.")
@click.option("--controls", is_flag=True, help="DCPT and pre-training in part, too.")
@click.option("--jobs", default=2, show_default=True, help="Runs at a time.")
def main(photos: tuple[Path, ...], out: Path, **given: Any) -> None:
    """Pre-train and fine-tune networks in several ways; a table and OUT/evidence.png."""
    study = Study(
        out, prepare(photos, out), given["preset"], given["iterations"], range(given["seeds"]),
        [Condition(few, lr) for few, lr in product((False, True), given["lrs"])],
        tuple(ARMS) if given["controls"] else MAIN, given["settings"],
    )  # fmt: skip
    study.do(jobs=given["jobs"])
    print(f"\n{given['seeds']} seeds, {machine()}; PSNR of held-out photos in dB, by seed:\n")
    head = ["fine-tuned from", "photos", "lr", "iterations", "PSNR"]
    print(
        table([*head, *(f"minus {other}" for other in (RANDOM, SAME_COMPUTE))], list(rows(study)))
    )
    draw(study, out / "evidence.png")


if __name__ == "__main__":
    main()
