"""The table of the embedded classifier's card: its accuracy on each test set.

Measured on the test sets of presets/data/embedded.yaml below a folder of
`python -m recipes.tiny.photographs`, and on folders of images that exist already. An image is
classified correctly by a multi-label classifier if its type is among those found; a clean one, if
none is.

    python -m recipes.tiny.naming data/ --folder LL dark/ --folder H hazy/
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import table
from maskdcpt_cli import load_classifier
from maskdcpt_cli.benchmarking.test_sets import from_preset, read_sample, title
from maskdcpt_cli.data.sets import ImageSet, from_photos
from maskdcpt_cli.degradations import CLEAN
from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.images.reading import page_from_array
from maskdcpt_cli.inference.classify import MIN_PROBABILITY, find_degradations
from maskdcpt_cli.presets.load import load_data
from maskdcpt_cli.weights.building import DegradationClassifier

Image = NDArray[np.uint8]


class Row(NamedTuple):
    """A set of images of one degradation, and what was found in them."""

    title: str
    degradation: str
    images: int
    correct: int
    unsure: int  # no label is likely
    others: Counter[str]  # labels that are not the degradation

    @property
    def accuracy(self) -> float:
        return self.correct / self.images

    def cells(self) -> list[str]:
        others = [f"{label} {n}" for label, n in self.others.most_common(3)]
        return [self.title, self.degradation, f"{self.images}", f"{self.accuracy:.0%}",
                f"{self.unsure / self.images:.0%}", ", ".join(others)]  # fmt: skip


def classified(
    title: str, degradation: str, images: Iterable[Image], classifier: DegradationClassifier
) -> Row:
    count = correct = unsure = 0
    others: Counter[str] = Counter()
    for image in images:
        found = find_degradations(classifier, page_from_array(image), Colour())
        likeliest, probability = next(iter(found.probabilities.items()))
        labels = (found.labels or (CLEAN,)) if classifier.multi_label else (likeliest,)
        count += 1
        correct += degradation in labels
        unsure += probability < MIN_PROBABILITY
        others.update(label for label in labels if label != degradation)
    return Row(title, degradation, count, correct, unsure, others)


def synthetic_images(testset: ImageSet, limit: int | None) -> Iterator[Image]:
    for index in range(len(testset))[:limit]:
        yield np.rint(read_sample(testset, index).lq * 255).astype(np.uint8)


def images_in(folder: Path, limit: int | None) -> Iterator[Image]:
    (images,) = from_photos(folder)
    for index in range(len(images))[:limit]:
        yield images.pairs.read(index).gt


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-c", "--classifier", default="tiny-classifier", show_default=True)
@click.option(
    "--folder",
    multiple=True,
    type=(str, click.Path(path_type=Path, exists=True, file_okay=False)),
    help="Abbreviation of the degradation, or clean, and its folder; may be repeated.",
)
@click.option("--limit", type=int, help="Take the first N images of each set.")
def main(
    data: Path, *, classifier: str, folder: tuple[tuple[str, Path], ...], limit: int | None
) -> None:
    """Classify the test sets of the preset `embedded` below DATA, and folders."""
    network = load_classifier(classifier)
    synthetic = [
        classified(title(one), one.degradation or "", synthetic_images(one, limit), network)
        for one in from_preset(load_data("embedded"), data)
        if not one.missing
    ]
    real = [
        classified("/".join(at.parts[-2:]), label, images_in(at, limit), network)
        for label, at in folder
    ]
    header = ["set", "type", "images", "accuracy", "below 50 %", "classified as"]
    print(table(header, [row.cells() for row in (*synthetic, *real)]))
    for kind, rows in (("Synthetic", synthetic), ("Real and public", real)):
        if rows:
            print(f"{kind} test sets: mean accuracy {fmean(row.accuracy for row in rows):.1%}.")


if __name__ == "__main__":
    main()
