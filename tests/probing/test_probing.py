"""The preliminary study: distances, neighbours, masks, t-SNE."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.probing.features import features_on_disk
from maskdcpt_cli.probing.images import ProbeImage
from maskdcpt_cli.probing.neighbours import classify, split
from maskdcpt_cli.probing.probed_models import ProbedModel
from maskdcpt_cli.probing.study import DistancesMeasured, Masking, measure
from maskdcpt_cli.probing.tsne import embed
from tests.small import small

KINDS = ("H", "LL")


def images(count: int = 12, *, side: int = 32) -> list[ProbeImage]:
    """Bright ones and dark ones, each a scene of its own."""
    drawn = np.random.default_rng(0).integers(0, 60, (count, side, side, 3), np.uint8)
    return [
        ProbeImage(f"scene{i}", KINDS[i % 2], pixels + 180 * (i % 2 == 0))
        for i, pixels in enumerate(drawn)
    ]


def distances_of(vectors: np.ndarray, *, block: int) -> np.ndarray:
    with features_on_disk() as store:
        for vector in vectors:
            store.append(vector[None])
        return store.distances(block=block)


@pytest.mark.parametrize("block", [1, 1000, 2**25])
def test_distances_are_the_euclidean_ones_in_blocks_of_any_size(block):
    vectors = np.random.default_rng(1).normal(size=(9, 50)).astype(np.float32)
    expected = np.linalg.norm(vectors[:, None].astype(np.float64) - vectors[None], axis=-1)
    assert np.allclose(distances_of(vectors, block=block), expected, atol=1e-6)


def test_neighbours_say_what_those_of_the_raw_features_say():
    some = images(30)
    vectors = np.random.default_rng(2).normal(size=(30, 40)).astype(np.float32)
    vectors[::2] += 0.5
    found = classify(distances_of(vectors, block=500), some, seeds=[3])
    train, test = split(some, seed=3)
    labels = np.array([KINDS.index(image.degradation) for image in some])
    raw = KNeighborsClassifier(5).fit(vectors[train], labels[train])
    assert found.accuracy == pytest.approx((raw.predict(vectors[test]) == labels[test]).mean())
    assert found.confusion.sum() == len(test)


def test_a_split_keeps_scenes_apart_and_knows_every_degradation():
    some = [image._replace(scene=f"scene{i // 2}") for i, image in enumerate(images(24))]
    halves = split(some, seed=0)
    scenes = [{some[index].scene for index in side} for side in halves]
    assert not scenes[0] & scenes[1]
    assert len(halves.test) == 8
    assert all({some[index].degradation for index in side} == set(KINDS) for side in halves)


def test_too_few_images_are_refused():
    with pytest.raises(
        MaskDCPTError, match="3 images of 2 degradations are too few for a 2:1 split"
    ):
        split(images(3), seed=0)


@pytest.mark.parametrize("ratio", [0.0, 0.5])
@pytest.mark.parametrize("backbone", ["nafnet", "swinir"])
def test_features_of_any_network_tell_bright_from_dark_masked_or_not(backbone, ratio):
    some = images()
    network = ProbedModel("small", backbone, "random", lambda: small(backbone))
    events = list(measure([network], some, mask_ratios=[ratio], masking=Masking(patch_size=16)))
    measured = [event for event in events if isinstance(event, DistancesMeasured)]
    assert len(events) == len(some) + 1
    assert measured[0].distances.shape == (12, 12)
    assert classify(measured[0].distances, some, seeds=[0]).accuracy > 0.9


def test_masked_vectors_are_as_long_as_what_is_visible():
    network = ProbedModel("small", "nafnet", "random", lambda: small("nafnet"))
    events = measure([network], images(), mask_ratios=[0.0, 0.75])
    whole, masked = (event for event in events if isinstance(event, DistancesMeasured))
    assert masked.length == whole.length // 4


def test_similar_images_lie_together_in_the_plane():
    places = np.repeat([[0.0, 0.0], [50.0, 50.0]], 10, axis=0)
    places += np.random.default_rng(0).normal(size=places.shape)
    laid = embed(np.linalg.norm(places[:, None] - places[None], axis=-1))
    assert laid.shape == (20, 2)
    centres = laid[:10].mean(axis=0), laid[10:].mean(axis=0)
    spread = np.linalg.norm(laid[:10] - centres[0], axis=1).mean()
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * spread
