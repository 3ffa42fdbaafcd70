"""What every synthesis keeps, walked over the table: shape, range, chance, levels."""

import json
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.degradations import DEGRADATIONS, LABELS, SETTINGS, Range
from maskdcpt_cli.errors import ImageError, MaskDCPTError
from maskdcpt_cli.images.reading import read_rgb
from maskdcpt_cli.synthesis.contract import Image
from maskdcpt_cli.synthesis.mixed import COMPOSITES
from maskdcpt_cli.synthesis.table import SYNTHESIS, degrade

EXAMPLES = Path(__file__).parents[2] / "examples"
VARIANTS = [
    pytest.param(degradation, variant, id=f"{DEGRADATIONS[degradation].slug}:{variant}")
    for degradation in DEGRADATIONS
    for variant in SYNTHESIS[degradation].variants
]
LEVELS = 11  # of each of the 19 types: 209 in all
SEEDS = range(2)
LOSSY = {"J", "MB+J", "DS+GN+GB+J"}  # JPEG of quality 100 still halves the resolution of chroma


@lru_cache
def photo(name: str, height: int = 128, width: int = 160) -> Image:
    """The middle of an example."""
    pixels = read_rgb(EXAMPLES / name)
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    crop = pixels[top : top + height, left : left + width].astype(np.float32) / 255
    crop.flags.writeable = False
    return crop


def photos() -> list[Image]:
    return [photo(name) for name in ("coffee-jpeg.jpg", "bee-blur.jpg", "cat-noise.png")]


def levels(degradation: str) -> np.ndarray:
    row = SYNTHESIS[degradation]
    return np.linspace(row.least, row.most, LEVELS)


def make(gt: Image, degradation: str, variant: str, level: float, *, seed: int = 0) -> Image:
    return SYNTHESIS[degradation].variants[variant](gt, level, default_rng(seed)).lq


def test_the_table_makes_every_degradation_in_order():
    assert list(SYNTHESIS) == list(LABELS)
    assert {d for setting in SETTINGS.values() for d in setting} <= set(SYNTHESIS)


@pytest.mark.parametrize(("degradation", "variant"), VARIANTS)
@pytest.mark.parametrize("size", [(16, 16), (17, 41), (96, 64)], ids=str)
def test_shape_type_and_range_are_kept_and_the_image_left_alone(degradation, variant, size):
    gt = np.ascontiguousarray(photo("coffee-jpeg.jpg")[: size[0], : size[1]])
    before = gt.copy()
    row = SYNTHESIS[degradation]
    for level in (row.least, *row.usual, row.most):
        lq = make(gt, degradation, variant, level)
        assert lq.shape == gt.shape
        assert lq.dtype == np.float32
        assert lq.flags.c_contiguous
        assert np.isfinite(lq).all()
        assert lq.min() >= 0
        assert lq.max() <= 1
        assert not np.shares_memory(lq, gt)
    assert np.array_equal(gt, before)


@pytest.mark.parametrize(("degradation", "variant"), VARIANTS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_black_and_white_images_are_no_exception(degradation, variant, value):
    gt = np.full((48, 40, 3), value, np.float32)
    lq = make(gt, degradation, variant, SYNTHESIS[degradation].usual.high)
    assert np.isfinite(lq).all()
    assert lq.min() >= 0
    assert lq.max() <= 1


@pytest.mark.parametrize(("degradation", "variant"), VARIANTS)
def test_the_seed_decides_everything(degradation, variant):
    gt = photo("coffee-jpeg.jpg")
    level = sum(SYNTHESIS[degradation].usual) / 2
    threads = cv2.getNumThreads()
    first = make(gt, degradation, variant, level, seed=5)
    try:
        cv2.setNumThreads(1 if threads > 1 else 2)
        again = make(gt, degradation, variant, level, seed=5)
    finally:
        cv2.setNumThreads(threads)
    assert np.array_equal(first, again)
    if variant not in ("jpeg", "bggr", "disc"):  # nothing is drawn there
        assert not np.array_equal(first, make(gt, degradation, variant, level, seed=6))


@pytest.mark.parametrize(("degradation", "variant"), VARIANTS)
def test_damage_grows_with_the_level(degradation, variant):
    damage = [
        np.mean(
            [
                np.square(make(gt, degradation, variant, level, seed=seed) - gt).mean()
                for gt in photos()
                for seed in SEEDS
            ]
        )
        for level in levels(degradation)
    ]
    growth = np.diff(damage)
    assert (growth > -0.01 * np.array(damage[1:])).all(), np.round(damage, 6)
    assert damage[-1] > 1e-4


@pytest.mark.parametrize(("degradation", "variant"), VARIANTS)
def test_the_least_level_leaves_the_image_as_it_is(degradation, variant):
    *smooth, noisy = photos()
    for gt in smooth if degradation in LOSSY else [*smooth, noisy]:
        difference = np.abs(make(gt, degradation, variant, SYNTHESIS[degradation].least) - gt)
        if degradation in LOSSY:
            assert difference.mean() <= 0.02
        else:
            assert difference.max() <= 1e-3


@pytest.mark.parametrize(("degradation", "variant"), VARIANTS)
def test_what_was_drawn_fits_a_manifest_and_gives_the_same_again(degradation, variant):
    gt = photo("coffee-jpeg.jpg", 64, 64)
    made = degrade(gt, degradation, default_rng(3), variant=variant)
    low, high = sorted(SYNTHESIS[degradation].usual)
    assert low <= made.level <= high
    json.dumps(made.parameters, allow_nan=False)
    assert np.array_equal(made.lq, make(gt, degradation, variant, made.level, seed=made.seed))


@pytest.mark.parametrize("degradation", SYNTHESIS)
def test_variants_and_levels_are_drawn_from_the_requested_ones(degradation):
    gt = photo("coffee-jpeg.jpg", 16, 16)
    row = SYNTHESIS[degradation]
    some = [row.usual.low, row.usual.high]
    drawn = [degrade(gt, degradation, default_rng(seed), levels=some) for seed in range(40)]
    assert {made.variant for made in drawn} == set(row.sampled or row.variants)
    assert {made.level for made in drawn} == set(some)
    between = [
        degrade(gt, degradation, default_rng(seed), levels=Range(*some)).level for seed in range(9)
    ]
    assert all(min(some) <= level <= max(some) for level in between)


def test_what_is_sampled_by_default_is_what_has_always_been():
    """Further variants must not change what equal seeds make."""
    sampled = {label: row.sampled or tuple(row.variants) for label, row in SYNTHESIS.items()}
    assert {label: variants for label, variants in sampled.items() if len(variants) > 1} == {
        "GN": ("gaussian", "poisson", "salt-and-pepper"),
        "RN": ("camera", "camera-jpeg"),
        "MB": ("shake", "scene", "object"),
        "DB": ("flat", "depth"),
        "H": ("homogeneous", "patchy"),
        "LL+H+RS+S": tuple(COMPOSITES),
    }
    assert all(set(row.sampled) <= set(row.variants) for row in SYNTHESIS.values())


def test_unknown_variants_and_levels_are_refused_in_a_sentence():
    gt = photo("coffee-jpeg.jpg", 16, 16)
    with pytest.raises(MaskDCPTError, match=r"Unknown variant of noise 'poison'. Did you mean"):
        degrade(gt, "GN", default_rng(), variant="poison")
    with pytest.raises(MaskDCPTError, match=r"Level 101 is out of range for jpeg: valid are 1 to"):
        degrade(gt, "J", default_rng(), levels=[101])
    with pytest.raises(MaskDCPTError, match="The list of levels is empty"):
        degrade(gt, "J", default_rng(), levels=[])


@pytest.mark.parametrize("degradation", SYNTHESIS)
def test_a_degradation_is_known_by_its_name_too(degradation):
    gt = photo("coffee-jpeg.jpg", 16, 16)
    name = LABELS[degradation].slug
    same = [degrade(gt, word, default_rng(1)).lq for word in (degradation, name, name.upper())]
    assert np.array_equal(same[0], same[1])
    assert np.array_equal(same[0], same[2])


def test_an_unknown_degradation_is_refused_in_a_sentence():
    with pytest.raises(MaskDCPTError, match=r"Unknown degradation 'hase'. Did you mean 'haze'"):
        degrade(photo("coffee-jpeg.jpg", 16, 16), "hase", default_rng())


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.zeros((16, 16, 3), np.uint8), r"is uint8, but .* float32 .*; divide 8-bit values by"),
        (np.zeros((16, 16, 3)), r"is float64, but degrade takes a float32 NumPy array"),
        (
            np.zeros((3, 16, 16), np.float32),
            r"the shape \(3, 16, 16\), but degrade takes \(H, W, 3\)",
        ),
        (np.zeros((16, 16), np.float32), r"the shape \(16, 16\)"),
        (np.zeros((1, 16, 16, 3), np.float32), r"the shape \(1, 16, 16, 3\)"),
        (np.zeros((0, 16, 3), np.float32), r"the shape \(0, 16, 3\)"),
        ([[[0.0, 0.0, 0.0]]], r"is list, but degrade takes a float32 NumPy array"),
    ],
)
def test_other_types_and_shapes_are_refused_in_a_sentence(image, sentence):
    with pytest.raises(ImageError, match=sentence):
        degrade(image, "haze", default_rng())


def test_a_range_from_high_to_low_is_refused():
    with pytest.raises(MaskDCPTError, match="Levels of jpeg from 90 to 10: give the lower one"):
        degrade(photo("coffee-jpeg.jpg"), "J", default_rng(0), levels=Range(90, 10))


def test_levels_may_be_an_array_and_not_a_number():
    gt = photo("coffee-jpeg.jpg")
    assert degrade(gt, "noise", default_rng(0), levels=np.array([15.0])).level == 15
    with pytest.raises(MaskDCPTError, match=r"levels is 15; give a list, as \[15\], or a Range"):
        degrade(gt, "noise", default_rng(0), levels=15)


@pytest.mark.parametrize("size", [(1, 1), (2, 900), (40, 1)])
def test_moire_of_a_narrow_image_is_not_black(size):
    result = degrade(np.full((*size, 3), 0.5, np.float32), "moire", default_rng(0), levels=(1,))
    assert result.lq.shape == (*size, 3)
    assert result.lq.max() > 0.1
