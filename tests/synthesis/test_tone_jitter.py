"""Other tones and softer detail: photos that look different, and are clean nonetheless."""

import cv2
import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.data.mixture import Mixture, to_float
from maskdcpt_cli.data.order import SampleKey
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.presets.data import Requests, TrainSynthesis
from maskdcpt_cli.synthesis.tone_jitter import (
    MIN_BRIGHTNESS,
    MIN_CONTRAST,
    ZOOM,
    black_and_white,
    jitter_tones,
    sharpened,
    tone_curve,
    upscaled,
    without_colour,
    zoomed,
)
from tests.data.test_mixture import SIDE, SyntheticPairs

DRAWN = 300


def test_a_tone_curve_is_between_black_and_white_and_never_falls():
    for seed in range(DRAWN):
        curve = tone_curve(default_rng(seed))
        assert curve.shape == (256, 3)
        assert curve.min() >= 0
        assert curve.max() <= 1
        assert (np.diff(curve, axis=0) >= -1e-6).all()


def test_half_of_the_scenes_are_dim_and_half_are_pale_at_most_so_much():
    spans = np.array([np.ptp(tone_curve(default_rng(seed)), axis=0).max() for seed in range(DRAWN)])
    assert spans.min() >= 0.8 * MIN_BRIGHTNESS * MIN_CONTRAST
    assert 0.4 < (spans > 0.85).mean() < 0.65


def test_tones_are_those_of_the_generator_and_the_photo_is_left_alone():
    photo = default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    before = photo.copy()
    once, again, other = (jitter_tones(photo, default_rng(seed)) for seed in (1, 1, 2))
    assert (once.shape, once.dtype) == (photo.shape, np.float32)
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)
    np.testing.assert_array_equal(photo, before)


@pytest.mark.parametrize(
    ("word", "fraction", "least", "most"),
    [
        ("p_tone", 0, 0, 0),
        ("p_tone", 0.5, 0.3, 0.7),
        ("p_tone", 1, 1, 1),
        ("p_zoom", 0, 0, 0),
        ("p_zoom", 0.5, 0.3, 0.7),
        ("p_zoom", 1, 1, 1),
        ("p_sharpen", 0, 0, 0),
        ("p_sharpen", 0.5, 0.3, 0.7),
        ("p_sharpen", 1, 1, 1),
        ("p_invert", 0, 0, 0),
        ("p_invert", 0.5, 0.3, 0.7),
        ("p_invert", 1, 1, 1),
        ("p_grey", 0, 0, 0),
        ("p_grey", 0.5, 0.3, 0.7),
        ("p_grey", 1, 1, 1),
        ("p_upscale", 0, 0, 0),
        ("p_upscale", 0.5, 0.3, 0.7),
        ("p_upscale", 1, 0.97, 1),  # some by so little that nothing changes
    ],
)
def test_a_fraction_of_the_clean_images_is_changed_before_it_is_degraded(
    word, fraction, least, most
):
    def samples(fraction):
        of = ImageSet(
            "a",
            SyntheticPairs(7, "clean", clean=True),
            synthesis=TrainSynthesis(**{word: fraction}),
        )
        mixture = Mixture([of], labels=["clean"])
        return [mixture[SampleKey(number, SIDE)] for number in range(100)]

    changed = []
    for plain, sample in zip(samples(0), samples(fraction), strict=True):
        lq, gt, unchanged = map(to_float, (sample.lq, sample.gt, plain.gt))
        assert lq.equal(gt), "of clean photos"
        changed.append(not gt.equal(unchanged))
    assert least <= np.mean(changed) <= most


def is_grey(image) -> bool:
    return bool((image == image[:1]).all())


@pytest.mark.parametrize("label", ["GN", "RN", "H", "RS", "MS", "J", "clean"])
@pytest.mark.parametrize("requests", [None, Requests(p_several=1)], ids=["blind", "asked"])
def test_a_grey_photo_is_grey_before_and_after_it_is_degraded(label, requests):
    def samples(synthesis):
        of = ImageSet("a", SyntheticPairs(7, label, clean=True), synthesis=synthesis)
        mixture = Mixture([of], labels=[label], requests=requests)
        return [mixture[SampleKey(number, SIDE)] for number in range(40)]

    for sample in samples(TrainSynthesis(p_grey=1, p_tone=0.5, p_jpeg=0.5)):
        assert is_grey(sample.lq)
        assert is_grey(sample.gt)
    some = [(is_grey(one.lq), is_grey(one.gt)) for one in samples(TrainSynthesis(p_grey=0.5))]
    assert 0.25 < np.mean([lq and gt for lq, gt in some]) < 0.75


def test_a_negative_is_degraded_as_any_photo():
    def sample(**given):
        of = ImageSet(
            "a", SyntheticPairs(7, "GN", clean=True), synthesis=TrainSynthesis(levels=(5,), **given)
        )
        return Mixture([of], labels=["GN"])[SampleKey(3, SIDE)]

    plain, negative = sample(), sample(p_invert=1)
    assert to_float(negative.gt).allclose(1 - to_float(plain.gt), atol=1e-6)
    assert (negative.lq - negative.gt).abs().mean() < 0.05


def test_black_and_white_photos_differ_in_their_filter_and_keep_their_greys():
    photo = default_rng(0).random((48, 31, 3), np.float32)
    before = photo.copy()
    once, again, other = (black_and_white(photo, default_rng(seed)) for seed in (1, 1, 2))
    assert (once.shape, once.dtype) == (photo.shape, np.float32)
    assert (once == once[..., :1]).all()
    assert 0 <= once.min() < once.max() <= 1
    np.testing.assert_array_equal(once, again)
    assert np.abs(once - other).mean() > 0.01
    np.testing.assert_array_equal(photo, before)
    np.testing.assert_allclose(black_and_white(once, default_rng(3)), once, atol=1e-5)
    np.testing.assert_allclose(without_colour(once), once, atol=1e-5)


def test_an_upscaled_photo_is_softer_but_no_other_scene():
    photo = default_rng(0).random((48, 31, 3), np.float32)
    before = photo.copy()
    once, again, other = (upscaled(photo, default_rng(seed)) for seed in (1, 1, 2))
    assert (once.shape, once.dtype) == (photo.shape, np.float32)
    assert 0 <= once.min() < once.max() <= 1
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)
    np.testing.assert_array_equal(photo, before)
    for soft in (once, other):
        assert soft.std() < photo.std()
        np.testing.assert_allclose(soft.mean((0, 1)), photo.mean((0, 1)), atol=0.03)


@pytest.mark.parametrize("size", [(1, 1, 3), (2, 9, 3)])
@pytest.mark.parametrize("change", [upscaled, zoomed, sharpened])
def test_the_smallest_photos_can_be_varied(change, size):
    photo = np.full(size, 0.5, np.float32)
    for seed in range(9):
        np.testing.assert_allclose(change(photo, default_rng(seed)), photo, atol=1e-6)


def test_a_zoomed_photo_shows_a_part_of_the_scene_larger_and_softer():
    rows, columns = np.mgrid[:96, :128].astype(np.float32)
    ramp = np.dstack([rows / 96, columns / 128, np.full_like(rows, 0.5)])
    slopes = []
    for seed in range(20):
        larger = zoomed(ramp, default_rng(seed))
        assert (larger.shape, larger.dtype) == (ramp.shape, np.float32)
        slopes.append(np.ptp(ramp[..., 1]) / np.ptp(larger[..., 1]))
        assert np.ptp(ramp[..., 0]) / np.ptp(larger[..., 0]) == pytest.approx(slopes[-1], rel=0.05)
    assert ZOOM[0] * 0.95 < min(slopes) < max(slopes) < ZOOM[1] * 1.05
    fine = default_rng(0).random((96, 128, 3), np.float32)
    for seed in range(9):
        soft = zoomed(fine, default_rng(seed))
        assert np.abs(np.diff(soft, axis=1)).mean() < 0.9 * np.abs(np.diff(fine, axis=1)).mean()
        assert 0 <= soft.min() < soft.max() <= 1


def test_a_sharpened_photo_has_steeper_edges_and_the_same_tones():
    photo = 0.3 + 0.4 * cv2.GaussianBlur(default_rng(0).random((64, 48, 3), np.float32), (0, 0), 1)
    before = photo.copy()
    once, again, other = (sharpened(photo, default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(photo, before)
    for sharp in (once, other):
        assert sharp.dtype == np.float32
        assert np.abs(np.diff(sharp, axis=1)).mean() > 1.05 * np.abs(np.diff(photo, axis=1)).mean()
        np.testing.assert_allclose(sharp.mean((0, 1)), photo.mean((0, 1)), atol=0.01)


def test_pairs_stay_as_they_are():
    of = ImageSet("a", SyntheticPairs(7), synthesis=TrainSynthesis(p_tone=1, p_upscale=1, p_jpeg=1))
    sample = Mixture([of], labels=["H"])[SampleKey(3, SIDE)]
    assert to_float(sample.lq).allclose(1 - to_float(sample.gt))
