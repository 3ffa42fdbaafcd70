"""The mixture: which sample comes when, however a run is split, and what breaks it."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pytest
import torch

from maskdcpt_cli.data.augment import CropFn, full_image
from maskdcpt_cli.data.loading import load
from maskdcpt_cli.data.mixture import Curriculum, Mixture, Sample, stack, to_float
from maskdcpt_cli.data.order import Batches, BatchStage, SampleKey, local_part, permuted
from maskdcpt_cli.data.pairs import Pair
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.errors import ImageError, MaskDCPTError
from maskdcpt_cli.presets.data import TrainSynthesis

LABELS = ("H", "GN", "LL")
SIDE = 16
NOISY = TrainSynthesis(variant="gaussian", levels=(25.0,))


@dataclass(frozen=True)
class SyntheticPairs:
    """Synthetic pairs: an image of one random colour a pixel, lq its negative."""

    count: int
    degradation: str = "H"
    clean: bool = False
    broken: frozenset[int] = field(default_factory=frozenset)

    def __len__(self) -> int:
        return self.count

    def read(self, index: int, crop_fn: CropFn = full_image) -> Pair:
        if index in self.broken:
            raise ImageError(f"{self.degradation}-{index}.png cannot be read.")
        gt = np.random.default_rng(index).integers(0, 256, (20 + index % 5, 24, 3), np.uint8)
        gt[..., 0] = index
        gt = crop_fn(*gt.shape[:2]).of(gt)
        return Pair(f"{index}.png", self.degradation, gt, None if self.clean else 255 - gt)

    def degradations(self) -> frozenset[str]:
        return frozenset({self.degradation})


def mixture(**changes: object) -> Mixture:
    entries = [
        ImageSet("a", SyntheticPairs(7)),
        ImageSet("a", SyntheticPairs(3, "GN", clean=True), repeat=4, synthesis=NOISY),
        ImageSet("a", SyntheticPairs(5, "LL"), repeat=2),
    ]
    return Mixture(entries, labels=LABELS, seed=3, **changes)


def batches(**options: int) -> Batches:
    return Batches([BatchStage(batch=options.pop("batch", 4), crop_size=SIDE)], **options)


def same(one: Sample, other: Sample) -> bool:
    return all(torch.equal(*pair) for pair in zip(one[:-1], other[:-1], strict=True))


@pytest.mark.parametrize("length", [*range(1, 40), 63, 64, 65, 1000, 4097])
def test_the_order_of_an_epoch_is_a_permutation(length):
    order = [permuted(index, length=length, seed=(1, 2)) for index in range(length)]
    assert sorted(order) == list(range(length))


def test_the_order_looks_random_and_differs_from_epoch_to_epoch():
    length = 3000
    orders = [
        np.array([permuted(index, length=length, seed=(0, epoch)) for index in range(length)])
        for epoch in range(2)
    ]
    assert (orders[0] == orders[1]).mean() < 0.01
    for order in orders:
        assert abs(np.corrcoef(order, np.arange(length))[0, 1]) < 0.06
        assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.06


def test_two_and_a_half_million_pairs_need_no_shuffled_list():
    length = 2_500_000
    drawn = {permuted(index, length=length, seed=(0, 0)) for index in range(2000)}
    assert len(drawn) == 2000
    assert max(drawn) < length
    assert np.mean(list(drawn)) == pytest.approx(length / 2, rel=0.05)


def test_an_epoch_visits_every_pair_as_often_as_its_entry_repeats():
    mixed = mixture()
    for epoch in range(2):
        numbers = range(epoch * len(mixed), (epoch + 1) * len(mixed))
        visits = Counter(
            (entry.pairs.degradations(), index) for entry, index in map(mixed.set_of, numbers)
        )
        assert visits == {
            (one.pairs.degradations(), index): one.repeat
            for one in mixed.sets
            for index in range(len(one.pairs))
        }


def test_a_sample_is_what_its_number_says_and_nothing_else():
    mixed, other = mixture(), mixture()
    for number in (0, 5, 1000, 12**12):
        assert same(mixed[SampleKey(number, SIDE)], other[SampleKey(number, SIDE)])
    first, second = (mixed[SampleKey(number, SIDE)] for number in (0, len(mixed)))
    assert not torch.equal(first.gt, second.gt)


def test_lq_and_gt_are_cropped_and_turned_alike_and_labelled():
    mixed = mixture()
    for number in range(60):
        sample = mixed[SampleKey(number, SIDE)]
        label = LABELS[int(sample.label)]
        assert sample.lq.shape == sample.gt.shape == (3, SIDE, SIDE)
        assert sample.gt.dtype == torch.uint8
        assert sample.lq.dtype == (torch.float32 if label == "GN" else torch.uint8)
        assert sample.lq.is_contiguous()
        assert sample.label.dtype == torch.int64
        lq, gt = to_float(sample.lq), to_float(sample.gt)
        assert lq.dtype == gt.dtype == torch.float32
        assert 0 <= lq.min() <= lq.max() <= 1
        if label != "GN":
            assert torch.allclose(lq, 1 - gt, atol=1e-6)
        assert {label} == mixed.set_of(number)[0].pairs.degradations()


def test_8_bit_images_become_the_floats_of_a_division():
    pixels = np.arange(256, dtype=np.uint8).repeat(3)
    expected = np.divide(pixels, 255, dtype=np.float32)
    assert np.array_equal(to_float(torch.from_numpy(pixels)).numpy(), expected)
    assert np.array_equal(to_float(torch.from_numpy(expected)).numpy(), expected)
    laid_out = torch.zeros(2, 3, 4, 4, dtype=torch.uint8).contiguous(
        memory_format=torch.channels_last
    )
    assert to_float(laid_out).is_contiguous(memory_format=torch.channels_last)


def test_a_batch_of_synthesised_and_of_read_images_is_in_floats_of_the_same_values():
    mixed = mixture()
    samples = [mixed[SampleKey(number, SIDE)] for number in range(12)]
    assert len({sample.lq.dtype for sample in samples}) == 2
    batch = stack(samples)
    assert (batch.lq.dtype, batch.gt.dtype) == (torch.float32, torch.uint8)
    for sample, lq, gt in zip(samples, batch.lq, batch.gt, strict=True):
        assert torch.equal(lq, to_float(sample.lq))
        assert torch.equal(gt, sample.gt)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_run_sees_what_an_uninterrupted_one_sees(workers):
    uninterrupted = list(load(mixture(), batches(last=12), workers=0))
    begun = list(islice(load(mixture(), batches(), workers=workers), 5))
    resumed = list(load(mixture(), batches(first=5, last=12), workers=workers))
    assert len(begun) + len(resumed) == 12
    for one, other in zip(uninterrupted, begun + resumed, strict=True):
        assert same(one, other)


@pytest.mark.parametrize("workers", [0, 2])
def test_two_ranks_together_see_what_one_sees(workers):
    alone = list(load(mixture(), batches(batch=8, last=6), workers=workers))
    ranks = [
        list(load(mixture(), batches(batch=8, rank=rank, world=2, last=6), workers=workers))
        for rank in range(2)
    ]
    for one, *parts in zip(alone, *ranks, strict=True):
        # A part of one kind of images may be in 8 bits where the whole batch is not.
        joined = Sample._make(
            [*(torch.cat([to_float(part[i]) for part in parts]) for i in range(6)), ()]
        )
        assert same(one._replace(lq=to_float(one.lq), gt=to_float(one.gt)), joined)


def test_batches_and_crops_may_change_during_a_run():
    stages = [BatchStage(16, 128, 10), BatchStage(10, 160, 20), BatchStage(2, 384, 2)]
    ranks = [list(Batches(stages, rank=rank, world=2)) for rank in range(2)]
    assert [len(rank) for rank in ranks] == [32, 32]
    numbers = [key.number for both in zip(*ranks, strict=True) for b in both for key in b]
    assert numbers == list(range(2 * (80 + 100 + 2)))
    assert {key.crop_size for key in ranks[0][10]} == {160}
    assert list(Batches(stages, rank=1, world=2, first=29)) == ranks[1][29:]
    with pytest.raises(MaskDCPTError, match="number of iterations"):
        Batches([BatchStage(8, 128), BatchStage(5, 160)])


@pytest.mark.parametrize(("batch", "world"), [(50, 8), (32, 64), (1, 3), (7, 7), (16, 3)])
def test_a_batch_is_shared_by_any_number_of_ranks(batch, world):
    shares = [local_part(batch, rank=rank, world=world) for rank in range(world)]
    assert [number for share in shares for number in share] == list(range(batch))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    stages = [BatchStage(batch, SIDE, 2)]
    for rank, share in enumerate(shares):
        both = list(Batches(stages, rank=rank, world=world))
        for keys, first in zip(both, (0, batch), strict=True):
            numbers = [key.number - first for key in keys]
            assert numbers == list(share) if share else numbers[0] in range(batch)
            assert len(numbers) == max(1, len(share))


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (ImageSet("a", SyntheticPairs(1, "MR")), "MR, which is not in the setting: H, GN, LL"),
        (
            ImageSet("a", SyntheticPairs(1, "GN"), synthesis=TrainSynthesis(variant="poison")),
            "Did you mean 'poisson'",
        ),
        (
            ImageSet("a", SyntheticPairs(1, "GN"), synthesis=TrainSynthesis(levels=(999.0,))),
            "999 is out of range",
        ),
        (ImageSet("a", SyntheticPairs(0)), "no pairs"),
    ],
)
def test_what_cannot_be_mixed_is_refused_at_once(entry, sentence):
    with pytest.raises(MaskDCPTError, match=sentence):
        Mixture([entry], labels=LABELS)


def test_mixtures_of_a_curriculum_take_turns_by_the_number_of_the_sample():
    first, second = (
        Mixture([ImageSet("a", SyntheticPairs(5, label))], labels=LABELS) for label in ("H", "LL")
    )
    curriculum = Curriculum([first, second], [6, 2])
    for number in range(12):
        drawn = SampleKey(number, SIDE)
        assert same(curriculum[drawn], (first if number < 6 else second)[drawn])


def test_mixtures_of_a_curriculum_have_the_same_labels():
    mixtures = [
        Mixture([ImageSet("a", SyntheticPairs(5))], labels=labels)
        for labels in (LABELS, LABELS[::-1])
    ]
    with pytest.raises(MaskDCPTError, match="H GN LL and another LL GN H"):
        Curriculum(mixtures, [6, 6])


@pytest.mark.parametrize(("fraction", "least", "most"), [(0, 0, 0), (0.5, 0.3, 0.7), (1, 1, 1)])
def test_a_fraction_of_the_lq_is_saved_as_jpeg_files_and_no_gt_is(fraction, least, most):
    def samples(saved):
        of = ImageSet(
            "a",
            SyntheticPairs(7, "J", clean=True),
            synthesis=TrainSynthesis(levels=(100.0,), p_jpeg=saved),
        )
        mixture = Mixture([of], labels=["J"])
        return [mixture[SampleKey(number, SIDE)] for number in range(100)]

    changed = []
    for plain, sample in zip(samples(0), samples(fraction), strict=True):
        assert sample.gt.equal(plain.gt)
        changed.append(not sample.lq.equal(plain.lq))
    assert least <= np.mean(changed) <= most
