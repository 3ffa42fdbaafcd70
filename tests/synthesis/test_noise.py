"""The strength and the shape of noise, measured."""

import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.synthesis.noise import gaussian, impulse, normals, poisson, salt_and_pepper


def flat(value: float) -> np.ndarray:
    return np.full((256, 256, 3), value, np.float32)


@pytest.mark.parametrize("function", [gaussian, poisson, salt_and_pepper])
@pytest.mark.parametrize("level", [5, 15, 25, 50])
def test_the_level_is_the_rms_at_mid_grey(function, level):
    residual = function(flat(0.5), level, default_rng(1)).lq - 0.5
    assert np.sqrt(np.square(residual).mean()) * 255 == pytest.approx(level, rel=0.03)


def test_normal_numbers_are_normal():
    values = normals((1000, 1000), default_rng(0))
    assert values.dtype == np.float32
    for power, moment in enumerate((0, 1, 0, 3), start=1):
        assert (values**power).mean() == pytest.approx(moment, abs=0.02)
    neighbours = np.corrcoef(values[:, 1:].ravel(), values[:, :-1].ravel())
    assert abs(neighbours[0, 1]) < 0.005


def test_gaussian_noise_is_clipped_and_white():
    residual = gaussian(flat(0.5), 25, default_rng(0)).lq - 0.5
    assert abs(np.corrcoef(residual[..., 0].ravel(), residual[..., 1].ravel())[0, 1]) < 0.02
    bright = gaussian(flat(1), 25, default_rng(0)).lq
    assert bright.max() == 1
    assert bright.mean() < 0.97


@pytest.mark.parametrize("counts", [1, 2, 5, 20, 200])
def test_poisson_noise_has_the_moments_of_counts(counts):
    white = 4 * counts
    lq, parameters = poisson(flat(0.25), 255 * np.sqrt(0.5 / white), default_rng(0))
    assert parameters["photons"] == pytest.approx(white, rel=1e-4)
    found = lq * white
    assert np.abs(found - np.rint(found)).max() < 1e-3
    assert found.mean() == pytest.approx(counts, rel=0.04)
    assert found.var() == pytest.approx(counts, rel=0.06)


def test_black_stays_black_under_poisson_noise():
    assert not poisson(flat(0), 150, default_rng(0)).lq.any()


@pytest.mark.parametrize("seed", range(6))
def test_salt_is_as_frequent_as_pepper_and_spares_the_rest(seed):
    lq, parameters = salt_and_pepper(flat(0.3), 40, default_rng(seed))
    fraction = (40 / 127.5) ** 2
    assert parameters["share"] == pytest.approx(fraction)
    for value in (0, 1):
        assert (lq == value).mean() == pytest.approx(fraction / 2, rel=0.1)
    assert set(np.unique(lq)) == {np.float32(0), np.float32(0.3), np.float32(1)}
    whole = (lq == lq[..., :1]).all()
    assert whole == (parameters["values"] == 1)


def test_a_higher_level_adds_grains_to_those_that_are_there():
    weak, strong = (salt_and_pepper(flat(0.3), level, default_rng(0)).lq for level in (10, 60))
    hit = weak != np.float32(0.3)
    assert np.array_equal(weak[hit], strong[hit])


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("level", [5, 25])
def test_impulses_replace_as_many_as_make_the_level_at_mid_grey(level, seed):
    lq, drawn = impulse(flat(0.5), level, default_rng(seed))
    assert np.sqrt(np.square(lq - 0.5).mean()) * 255 == pytest.approx(level, rel=0.15)
    hit = lq != np.float32(0.5)
    assert hit.mean() == pytest.approx(drawn["share"], rel=0.15)
    assert (hit.all(2) | ~hit.any(2)).all() == (drawn["values"] == 1)


def test_impulses_are_black_and_white_in_any_proportion_or_of_any_value():
    salt, values, colours = [], set(), []
    for seed in range(40):
        lq, drawn = impulse(flat(0.5), 40, default_rng(seed))
        hit = lq[lq != np.float32(0.5)]
        values.add((drawn["values"], drawn["random"]))
        if drawn["random"]:
            colours.append(hit.std())
        else:
            assert set(np.unique(hit)) <= {0, 1}
            assert (hit == 1).mean() == pytest.approx(drawn["salt"], abs=0.05)
            salt.append(drawn["salt"])
    assert values == {(1, 0), (1, 1), (3, 0), (3, 1)}
    assert min(salt) < 0.2
    assert max(salt) > 0.8
    np.testing.assert_allclose(colours, np.sqrt(1 / 12), rtol=0.05)
