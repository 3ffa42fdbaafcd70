"""How well the nearest neighbours of an image tell its degradation (Sec. III)."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import mean, stdev
from typing import NamedTuple

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.probing.features import Distances
from maskdcpt_cli.probing.images import ProbeImage

NEIGHBOURS = 5
SEEDS = (0, 1, 2, 3, 4)
TEST = 3  # one of so many images: 2:1


class Split(NamedTuple):
    """Embedding of images."""

    train: NDArray[np.intp]
    test: NDArray[np.intp]


class KnnResult(NamedTuple):
    """What the neighbours said, over all seeds."""

    accuracies: tuple[float, ...]  # of each seed, 0 to 1
    degradations: tuple[str, ...]  # abbreviations
    confusion: NDArray[np.int64]  # rows: what an image is; columns: what its neighbours said

    @property
    def accuracy(self) -> float:
        return mean(self.accuracies)

    @property
    def spread(self) -> float:
        """The standard deviation over the seeds."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0

    @property
    def recall(self) -> dict[str, float]:
        """The fraction of each degradation's images that is known."""
        known = self.confusion.diagonal() / self.confusion.sum(axis=1)
        return dict(zip(self.degradations, known.tolist(), strict=True))


def classify(
    distances: Distances, images: Sequence[ProbeImage], *, seeds: Sequence[int] = SEEDS
) -> KnnResult:
    """Name the degradation of a third of the images by their neighbours among the others.

    Raises MaskDCPTError where there are too few images.
    """
    from sklearn.neighbors import KNeighborsClassifier

    degradations = tuple(dict.fromkeys(image.degradation for image in images))
    labels = np.array([degradations.index(image.degradation) for image in images])
    confusion = np.zeros((len(degradations),) * 2, np.int64)
    accuracies = []
    for seed in seeds:
        train, test = split(images, seed=seed)
        neighbours = KNeighborsClassifier(NEIGHBOURS, metric="precomputed")
        neighbours.fit(distances[np.ix_(train, train)], labels[train])
        said = neighbours.predict(distances[np.ix_(test, train)])
        np.add.at(confusion, (labels[test], said), 1)
        accuracies.append(float((said == labels[test]).mean()))
    return KnnResult(tuple(accuracies), degradations, confusion)


def split(images: Sequence[ProbeImage], *, seed: int) -> Split:
    """Two thirds to learn from, one to be tested on: of every degradation, and never one scene on
    both sides.

    Raises MaskDCPTError where a degradation has too few images.
    """
    scenes: dict[str, list[int]] = defaultdict(list)
    for place, image in enumerate(images):
        scenes[image.scene].append(place)
    alike: dict[tuple[str, ...], list[list[int]]] = defaultdict(list)
    for places in scenes.values():
        alike[tuple(sorted(images[place].degradation for place in places))].append(places)
    generator = default_rng(seed)
    test: list[int] = []
    for some in alike.values():
        order = generator.permutation(len(some))
        test += [place for i in order[: round(len(some) / TEST)] for place in some[i]]
    tested = np.sort(np.array(test, np.intp))
    rest = np.setdiff1d(np.arange(len(images)), tested)
    _check(images, Split(rest, tested))
    return Split(rest, tested)


def _check(images: Sequence[ProbeImage], halves: Split) -> None:
    every = {image.degradation for image in images}
    sides = [{images[place].degradation for place in side} for side in halves]
    if len(every) < 2 or sides != [every, every] or len(halves.train) < NEIGHBOURS:
        raise MaskDCPTError(
            f"{len(images)} images of {len(every)} degradations are too few to learn from two "
            f"thirds and be tested on one: give at least 2 degradations and {NEIGHBOURS} images "
            "of each."
        )
