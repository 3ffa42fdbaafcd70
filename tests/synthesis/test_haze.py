"""Haze: Koschmieder's law, whatever was drawn."""

import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.synthesis.haze import even, homogeneous, landscape, patchy

SCENE = np.full((64, 96, 3), (0.1, 0.2, 0.05), np.float32)
VARIANTS = pytest.mark.parametrize("variant", [homogeneous, patchy, even])
SEEDS = range(20)


def airlight(degraded):
    return np.array([degraded.parameters[name] for name in ("red", "green", "blue")])


def transmissions(level, seed, variant):
    """By colour: each pixel lies that near the scene on the way from the airlight."""
    degraded = variant(SCENE, level, default_rng(seed))
    return (degraded.lq - airlight(degraded)) / (SCENE - airlight(degraded))


@VARIANTS
def test_all_colours_lose_the_same_fraction_of_light(variant):
    for seed in SEEDS:
        through = transmissions(1.5, seed, variant)
        assert through.min() > -1e-4
        assert through.max() < 1 + 1e-4
        assert np.ptp(through, axis=2).max() < 1e-4


@pytest.mark.parametrize("variant", [homogeneous, patchy, even, landscape])
def test_twice_the_level_is_twice_the_optical_depth(variant):
    for seed in SEEDS:
        once, twice = (transmissions(level, seed, variant) for level in (0.6, 1.2))
        np.testing.assert_allclose(twice, once**2, atol=1e-4)


@VARIANTS
def test_dense_haze_shows_airlight_alone(variant):
    degraded = variant(SCENE, 1e4, default_rng(0))
    assert np.abs(degraded.lq - airlight(degraded)).max() < 1e-5


def test_the_level_is_the_optical_depth_of_the_farthest_point():
    least = [transmissions(2, seed, homogeneous).min() for seed in SEEDS]
    assert min(least) > np.exp(-2) - 1e-4
    assert np.median(least) < np.exp(-2) + 0.01


def test_some_images_are_far_all_over_and_some_have_a_clear_foreground():
    nearest = [transmissions(2, seed, homogeneous).max() for seed in range(60)]
    assert min(nearest) < 0.25
    assert max(nearest) > 0.8


def test_banks_of_fog_are_uneven_but_no_denser_on_average():
    depths = {
        variant: [-np.log(transmissions(1, seed, variant)[..., 1]) for seed in range(60)]
        for variant in (homogeneous, patchy)
    }
    even, uneven = (np.mean(depths[variant]) for variant in (homogeneous, patchy))
    assert 0.85 < uneven / even < 1.15
    spreads = [np.mean([depth.std() for depth in depths[variant]]) for variant in depths]
    assert spreads[1] > 1.5 * spreads[0]


def test_even_haze_hides_all_of_a_scene_alike():
    for seed in SEEDS:
        depth = -np.log(transmissions(2, seed, even))
        assert depth.max() <= 2 + 1e-3
        assert depth.min() > 0.74 * 2


def test_haze_of_a_landscape_leaves_the_foreground_clear_and_hides_the_horizon():
    depths = [-np.log(transmissions(2, seed, landscape)[..., 1]) for seed in range(60)]
    assert np.median([depth.max() for depth in depths]) > 1.8
    assert np.median([np.median(depth[-8:]) for depth in depths]) < 0.25
    spreads = [np.mean([depth.std() for depth in depths])]
    spreads += [-np.log(transmissions(2, seed, homogeneous)[..., 1]).std() for seed in range(60)]
    assert spreads[0] > 1.5 * np.mean(spreads[1:])


def test_haze_of_a_landscape_takes_more_of_the_blue_by_its_exponent():
    for seed in SEEDS:
        exponent = landscape(SCENE, 1, default_rng(seed)).parameters["exponent"]
        depth = -np.log(transmissions(1, seed, landscape))
        far = depth[..., 1] > 0.3
        red, blue = (np.median(depth[far, c] / depth[far, 1]) for c in (0, 2))
        assert red == pytest.approx((550 / 610) ** exponent, abs=0.01)
        assert blue == pytest.approx((550 / 465) ** exponent, abs=0.01)


def test_airlight_is_greyish_white_and_never_darker_than_what_is_bright_in_the_photo():
    drawn = np.array([airlight(homogeneous(SCENE, 1, default_rng(seed))) for seed in range(300)])
    assert 0.7 < np.median(drawn) < 0.95
    assert 0.05 < np.mean(drawn.mean(1) < 0.7) < 0.25
    assert np.median(np.ptp(drawn, axis=1)) < 0.08
    bright = np.full((32, 32, 3), 0.9, np.float32)
    for seed in SEEDS:
        assert airlight(homogeneous(bright, 1, default_rng(seed)))[1] > 0.85
