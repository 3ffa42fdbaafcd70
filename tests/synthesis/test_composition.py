"""Several degradations of one image: their order, which go together, and the image without some."""

from itertools import permutations

import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.degradations import TYPES_OF_12D
from maskdcpt_cli.synthesis.composition import ORDER, STAGES, compatible, compose
from maskdcpt_cli.synthesis.table import SYNTHESIS, DegradationStep, degrade, sample
from tests.synthesis.test_table import photo

NAMED = [
    (label, variant)
    for label in ORDER
    for variant in SYNTHESIS[label].variants
    if SYNTHESIS[label].sampled and variant not in SYNTHESIS[label].sampled
]
GT = photo("coffee-jpeg.jpg", 64, 80)


def step(label: str, seed: int = 0) -> DegradationStep:
    return sample(label, default_rng(seed))


def test_every_single_degradation_has_its_place():
    assert sorted(ORDER) == sorted(TYPES_OF_12D)


def test_one_step_degrades_as_degrade_does():
    for label in ORDER:
        made = degrade(GT, label, default_rng(5))
        assert np.array_equal(compose(GT, [step(label, 5)]), made.lq), label


def test_steps_are_applied_from_the_scene_to_the_file():
    steps = [step(label) for label in ("J", "H", "GN", "MB")]
    expected = GT
    for label in ("H", "MB", "GN", "J"):
        expected = step(label)(expected).lq
    for shuffled in permutations(steps):
        assert np.array_equal(compose(GT, shuffled), expected)


@pytest.mark.parametrize("label", ORDER)
def test_without_a_degradation_the_others_are_applied_with_their_own_seeds(label):
    others = [other for other in ("H", "LL", "GN") if compatible(label, [other])]
    steps = [step(one) for one in (label, *others)]
    without = compose(GT, steps, without=[label])
    assert np.array_equal(without, compose(GT, [one for one in steps if one.degradation != label]))
    assert not np.array_equal(without, compose(GT, steps))


@pytest.mark.parametrize(("label", "variant"), NAMED, ids=str)
def test_variants_that_must_be_named_are_left_out_like_any_other(label, variant):
    named = sample(label, default_rng(3), variant=variant)
    others = [step(other) for other in ("H", "GB", "RN") if compatible(other, [label])]
    composed = compose(GT, [named, *others])
    assert np.array_equal(composed, compose(GT, [*others, named]))
    assert not np.array_equal(composed, compose(GT, others))
    assert np.array_equal(compose(GT, [named, *others], without=[label]), compose(GT, others))
    kept = compose(GT, [named, *others], without=[other.degradation for other in others])
    assert np.array_equal(kept, named(GT).lq)


def test_without_all_the_clean_image_is_left():
    assert compose(GT, [step("H"), step("J")], without=ORDER) is GT


def test_an_image_has_one_degradation_of_a_stage():
    for stage in STAGES:
        for label in stage:
            assert not any(compatible(label, [other]) for other in stage)
            assert not compatible(label, [label])


def test_a_mosaic_is_neither_compressed_nor_shown_on_a_screen():
    for label in ("J", "MR"):
        assert not compatible("MS", ["H", label])
        assert not compatible(label, ["MS"])
    assert compatible("MS", ["H", "GN"])


def test_mixtures_and_clean_are_not_combined():
    assert not any(compatible(label, []) for label in ("clean", "MB+J", "RSD"))
