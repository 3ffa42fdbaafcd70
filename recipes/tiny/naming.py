"""The table of the embedded classifier's card: how many pictures of each set it names right.

Measured on the test sets of presets/data/embedded.yaml below a folder of
`python -m recipes.tiny.photographs`, and on folders of pictures that exist already.

    python -m recipes.tiny.naming data/ --folder LL dark/ --folder H hazy/
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import table
from maskdcpt_cli import classify, load_classifier
from maskdcpt_cli.benchmarking.test_sets import TestSet, from_preset
from maskdcpt_cli.data.folders import photos
from maskdcpt_cli.inference.classify import MIN_PROBABILITY
from maskdcpt_cli.presets.load import load_data

Picture = NDArray[np.uint8]


class Row(NamedTuple):
    """A set of pictures of one degradation, and what they were taken for."""

    title: str
    degradation: str
    answers: Counter[str]  # the likeliest labels
    unsure: int

    @property
    def right(self) -> float:
        return self.answers[self.degradation] / self.answers.total()

    def cells(self) -> list[str]:
        wrong = [
            f"{label} {n}" for label, n in self.answers.most_common() if label != self.degradation
        ]
        unsure = self.unsure / self.answers.total()
        return [self.title, self.degradation, f"{self.answers.total()}", f"{self.right:.0%}",
                f"{unsure:.0%}", ", ".join(wrong[:3])]  # fmt: skip


def named(title: str, degradation: str, pictures: Iterable[Picture], classifier: Any) -> Row:
    answers: Counter[str] = Counter()
    unsure = 0
    for picture in pictures:
        label, probability = next(iter(classify(classifier, picture).items()))
        answers[label] += 1
        unsure += probability < MIN_PROBABILITY
    return Row(title, degradation, answers, unsure)


def made(testset: TestSet, limit: int | None) -> Iterator[Picture]:
    for index in range(len(testset))[:limit]:
        yield np.rint(testset.read(index).lq * 255).astype(np.uint8)


def lying(folder: Path, limit: int | None) -> Iterator[Picture]:
    pairs = photos(folder)
    for index in range(len(pairs))[:limit]:
        yield pairs.read(index).gt


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-c", "--classifier", default="tiny-classifier", show_default=True)
@click.option(
    "--folder",
    multiple=True,
    type=(str, click.Path(path_type=Path, exists=True, file_okay=False)),
    help="Abbreviation of the degradation, or clean, and where such pictures lie; may be repeated.",
)
@click.option("--limit", type=int, help="Take the first N pictures of each set.")
def main(
    data: Path, *, classifier: str, folder: tuple[tuple[str, Path], ...], limit: int | None
) -> None:
    """Name the pictures of the test sets of the preset `embedded` below DATA, and of folders."""
    network = load_classifier(classifier)
    sets = [one for one in from_preset(load_data("embedded"), data) if isinstance(one, TestSet)]
    synthetic = [
        named(one.title, one.about.degradation or "", made(one, limit), network) for one in sets
    ]
    real = [
        named("/".join(at.parts[-2:]), label, lying(at, limit), network) for label, at in folder
    ]
    header = ["set", "type", "pictures", "right", "below 50 %", "taken for"]
    print(table(header, [row.cells() for row in (*synthetic, *real)]))
    for title, rows in (("made", synthetic), ("found", real)):
        if rows:
            print(
                f"Pictures {title}: {fmean(row.right for row in rows):.1%} right, mean of the sets."
            )


if __name__ == "__main__":
    main()
