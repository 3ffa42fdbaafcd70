"""Requests: which degradations a sample gets, and which a network is asked to remove."""

from collections import Counter

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from pydantic import ValidationError

from maskdcpt_cli.data.mixture import Mixture, Sample, to_float
from maskdcpt_cli.data.order import SampleKey
from maskdcpt_cli.data.requests import Asking, sample_request, sample_steps
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.degradations import TYPES_OF_12D, Range
from maskdcpt_cli.presets.data import RequestKinds, Requests, TrainSynthesis
from maskdcpt_cli.synthesis.composition import compatible, compose
from maskdcpt_cli.synthesis.jpeg import USUAL_QUALITIES
from maskdcpt_cli.synthesis.table import sample
from tests.data.test_mixture import LABELS, NOISY, SIDE, SyntheticPairs, mixture

NEVER = dict.fromkeys(RequestKinds.model_fields, 0.0)
SYNTHESES = {
    "H": [TrainSynthesis(levels=(1.0,)), TrainSynthesis(levels=Range(2, 3))],
    "GN": [TrainSynthesis(variant="poisson", levels=(25.0,))],
    "RN": [TrainSynthesis()],
    "J": [TrainSynthesis()],
    "MS": [TrainSynthesis()],
}
SEEDS = range(200)


def only(kind: str) -> Requests:
    return Requests(ask=RequestKinds(**(NEVER | {kind: 1.0})))


def steps_of(seed: int, settings: Requests, first: str = "LL") -> list[str]:
    generator = default_rng(seed)
    steps = sample_steps(sample(first, generator), SYNTHESES, settings, generator)
    return [step.degradation for step in steps]


def test_the_first_degradation_is_kept_and_others_can_go_with_it():
    drawn = [steps_of(seed, Requests(p_several=1, most=4)) for seed in SEEDS]
    for labels in drawn:
        assert labels[0] == "LL"
        for at, label in enumerate(labels[1:], 1):
            assert compatible(label, labels[:at])
    assert {len(labels) for labels in drawn} == {2, 3, 4}


@pytest.mark.parametrize(("p_several", "counts"), [(0, {1}), (0.5, {1, 2})])
def test_further_degradations_come_with_the_probability_of_the_preset(p_several, counts):
    drawn = Counter(len(steps_of(seed, Requests(p_several=p_several, most=2))) for seed in SEEDS)
    assert set(drawn) == counts
    assert drawn[1] == pytest.approx((1 - p_several) * len(SEEDS), abs=25)


def test_a_degradation_that_is_not_combined_stays_alone():
    assert {tuple(steps_of(seed, Requests(p_several=1), "clean")) for seed in SEEDS} == {("clean",)}


def test_further_degradations_have_the_levels_and_variants_of_their_recipes():
    for seed in SEEDS:
        generator = default_rng(seed)
        first = sample("LL", generator)
        syntheses = {"GN": SYNTHESES["GN"]}
        _, second = sample_steps(first, syntheses, Requests(p_several=1), generator)
        assert (second.variant, second.level) == ("poisson", 25)


@pytest.mark.parametrize("present", [set(), {"H"}, {"H", "GN", "J"}, set(TYPES_OF_12D)], ids=len)
def test_what_is_asked_follows_from_what_is_there(present):
    def asked(kind: str) -> list[frozenset[str]]:
        return [
            sample_request(present, TYPES_OF_12D, only(kind), default_rng(seed)) for seed in SEEDS
        ]

    assert set(asked("exactly")) == {frozenset(present)}
    assert set(asked("nothing")) == {frozenset()}
    assert set(asked("all")) == {frozenset(TYPES_OF_12D)}
    for request in asked("others"):
        assert request if len(present) < len(TYPES_OF_12D) else not request
        assert not request & present
    for request in asked("some"):
        assert request < present if len(present) > 1 else request == present
        assert request or len(present) < 2
    for request in asked("more"):
        assert request > present if len(present) < len(TYPES_OF_12D) else request == present


def test_the_kinds_come_as_often_as_the_preset_says():
    settings = Requests(ask=RequestKinds(**(NEVER | {"all": 3, "nothing": 1})))
    drawn = Counter(sample_request({"H"}, TYPES_OF_12D, settings, default_rng(s)) for s in SEEDS)
    assert drawn[frozenset(TYPES_OF_12D)] == pytest.approx(150, abs=20)
    assert drawn.total() == drawn[frozenset(TYPES_OF_12D)] + drawn[frozenset()]


def test_a_preset_that_asks_for_nothing_at_all_is_refused():
    with pytest.raises(ValidationError, match="one of them must be above 0"):
        RequestKinds(**NEVER)


def asked(kind: str, **changes: object) -> Mixture:
    """A mixture whose network is asked in one way; H is of pairs."""
    entries = [
        ImageSet("a", SyntheticPairs(4)),
        ImageSet("a", SyntheticPairs(4, "GN", clean=True), synthesis=NOISY),
        ImageSet("a", SyntheticPairs(4, "clean", clean=True)),
    ]
    kinds = dict.fromkeys(RequestKinds.model_fields, 0) | {kind: 1}
    requests = Requests(p_several=0, ask=RequestKinds(**kinds))
    return Mixture(entries, labels=(*LABELS, "clean"), requests=requests, **changes)


def by_label(samples: Mixture) -> dict[str, Sample]:
    drawn = [samples[SampleKey(number, SIDE)] for number in range(12)]
    return {samples.labels[int(one.label)]: one for one in drawn}


def test_without_requests_exactly_what_is_there_is_asked_for():
    one = mixture()[SampleKey(0, SIDE)]
    assert one.present.tolist() == [float(label == LABELS[one.label]) for label in LABELS]
    assert torch.equal(one.request, one.present)


@pytest.mark.parametrize("kind", ["exactly", "all", "more", "some"])
def test_asked_for_what_is_there_the_target_is_clean(kind):
    asking, plain = by_label(asked(kind)), by_label(asked("all"))
    lq, gt = (to_float(image) for image in (asking["H"].lq, asking["H"].gt))
    torch.testing.assert_close(gt, 1 - lq)  # of SyntheticPairs
    assert not torch.equal(to_float(asking["GN"].gt), to_float(asking["GN"].lq))
    for label in ("H", "GN", "clean"):
        assert torch.equal(to_float(asking[label].gt), to_float(plain[label].gt))
        assert (asking[label].present <= asking[label].request).all()
        assert asking[label].present.sum() == (label != "clean")


def test_asked_for_some_of_what_is_there_the_target_has_the_rest():
    clean = np.random.default_rng(0).random((24, 24, 3), dtype=np.float32)
    asking = Asking(Requests(p_several=1, most=3, ask=only("some").ask), SYNTHESES, TYPES_OF_12D)
    partial = 0
    for seed in SEEDS:
        made = asking.pair(clean, "GN", TrainSynthesis(p_jpeg=0.5), default_rng(seed))
        generator = default_rng(seed)
        steps = sample_steps(sample("GN", generator), SYNTHESES, asking.settings, generator)
        if compatible("J", made.present) and generator.random() < 0.5:
            steps.append(sample("J", generator, levels=USUAL_QUALITIES))
        assert np.array_equal(made.lq, compose(clean, steps))
        if made.request & made.present and made.present - made.request:
            partial += 1
            assert np.array_equal(made.gt, compose(clean, steps, without=made.request))
            assert not np.array_equal(made.gt, made.lq)
            assert not np.array_equal(made.gt, clean)
    assert partial > 50


@pytest.mark.parametrize("kind", ["others", "nothing"])
def test_asked_for_nothing_that_is_there_the_target_is_the_input(kind):
    for one in by_label(asked(kind)).values():
        assert torch.equal(to_float(one.gt), to_float(one.lq))
        assert one.request.any() == (kind == "others")


@pytest.mark.parametrize("synthesis", [TrainSynthesis(p_tone=1), TrainSynthesis(p_invert=1)])
@pytest.mark.parametrize("first", ["GN", "LL"])
def test_photos_in_random_tones_and_negatives_are_neither_made_hazy_nor_asked_so(first, synthesis):
    """But a dark photo in random tones, as a preset may want it, is asked for all."""
    entries = [
        ImageSet("a", SyntheticPairs(4, first, clean=True), synthesis=synthesis),
        ImageSet("a", SyntheticPairs(4, "H", clean=True), synthesis=TrainSynthesis()),
    ]
    requests = Requests(p_several=1, ask=RequestKinds(**(NEVER | {"all": 1})))
    labels = ("H", "GN", "LL")
    samples = Mixture(entries, labels=labels, requests=requests)
    drawn = [samples[SampleKey(number, SIDE)] for number in range(60)]
    toned = [one for one in drawn if labels[int(one.label)] == first]
    asked = [labels[int(at)] for at in toned[0].request.nonzero().flatten()]
    assert asked == (["GN"] if first == "GN" else [*labels])
    hazy = {bool(one.present[labels.index("H")]) for one in toned}
    assert hazy == {first == "LL"}
