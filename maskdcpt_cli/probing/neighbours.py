"""Classification of degradations by nearest neighbours in feature space (Sec. III)."""

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
TEST_PART = 3  # one of this many images is for testing: 2:1


class Split(NamedTuple):
    """Indices of training and test images."""

    train: NDArray[np.intp]
    test: NDArray[np.intp]


class KnnResult(NamedTuple):
    """Result of k-NN classification over all seeds."""

    accuracies: tuple[float, ...]  # of each seed, 0 to 1
    degradations: tuple[str, ...]  # abbreviations
    confusion: NDArray[np.int64]  # rows: true; columns: predicted

    @property
    def accuracy(self) -> float:
        """Mean accuracy over the seeds, 0 to 1."""
        return mean(self.accuracies)

    @property
    def spread(self) -> float:
        """Standard deviation of the accuracy over the seeds; 0 for one seed."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0

    @property
    def recall(self) -> dict[str, float]:
        """Recall of each degradation, 0 to 1, by abbreviation."""
        known = self.confusion.diagonal() / self.confusion.sum(axis=1)
        return dict(zip(self.degradations, known.tolist(), strict=True))


def classify(
    distances: Distances, images: Sequence[ProbeImage], *, seeds: Sequence[int] = SEEDS
) -> KnnResult:
    """Classify the degradation of a third of the images by their nearest neighbours in the rest.

    Raises:
        MaskDCPTError: If there are too few images.
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
        predicted = neighbours.predict(distances[np.ix_(test, train)])
        np.add.at(confusion, (labels[test], predicted), 1)
        accuracies.append(float((predicted == labels[test]).mean()))
    return KnnResult(tuple(accuracies), degradations, confusion)


def split(images: Sequence[ProbeImage], *, seed: int) -> Split:
    """Split images 2:1 into training and test: all degradations in both, and no scene in both.

    Raises:
        MaskDCPTError: If a degradation has too few images.
    """
    scenes: dict[str, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        scenes[image.scene].append(index)
    groups: dict[tuple[str, ...], list[list[int]]] = defaultdict(list)
    for indices in scenes.values():
        groups[tuple(sorted(images[index].degradation for index in indices))].append(indices)
    generator = default_rng(seed)
    test: list[int] = []
    for some in groups.values():
        order = generator.permutation(len(some))
        test += [index for i in order[: round(len(some) / TEST_PART)] for index in some[i]]
    tested = np.sort(np.array(test, np.intp))
    rest = np.setdiff1d(np.arange(len(images)), tested)
    _check(images, Split(rest, tested))
    return Split(rest, tested)


def _check(images: Sequence[ProbeImage], halves: Split) -> None:
    every = {image.degradation for image in images}
    sides = [{images[index].degradation for index in side} for side in halves]
    if len(every) < 2 or sides != [every, every] or len(halves.train) < NEIGHBOURS:
        raise MaskDCPTError(
            f"{len(images)} images of {len(every)} degradations are too few for a 2:1 split "
            f"into training and test: give at least 2 degradations and {NEIGHBOURS} images "
            "of each."
        )
