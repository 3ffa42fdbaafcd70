"""What sets the noise of a camera apart from white noise."""

import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.synthesis.camera import (
    MID_GREY,
    Sensor,
    denoised,
    grain,
    noise,
    noise_levels,
    residual_grain,
)
from maskdcpt_cli.synthesis.light import to_srgb

SENSORS = [Sensor(0.003, 1, 1, 0.5), Sensor(0.1, 2, 1.5, 1), Sensor(0.02, 1.2, 2, 0.7)]


def correlation(plane: np.ndarray, distance: int) -> float:
    return float(np.corrcoef(plane[:, distance:].ravel(), plane[:, :-distance].ravel())[0, 1])


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb @ [0.299, 0.587, 0.114]


def red(rgb: np.ndarray) -> np.ndarray:
    return rgb[..., 0] - luma(rgb)


@pytest.mark.parametrize(("level", "most"), [(2, 1.08), (5, 1.08), (10, 1.08), (30, 1.3)])
@pytest.mark.parametrize("seed", range(4))
def test_the_level_is_the_rms_at_mid_grey_and_more_where_the_curve_bends(level, most, seed):
    gt = np.full((256, 256, 3), MID_GREY / 255, np.float32)
    residual = noise(gt, level, default_rng(seed)).lq - gt
    assert 0.98 < np.sqrt(np.square(residual).mean()) * 255 / level < most


@pytest.mark.parametrize("sensor", SENSORS, ids=str)
def test_signal_makes_noise_in_linear_light_and_white_balance_amplifies_it(sensor):
    levels = noise_levels(sensor)
    assert levels.shape == (256, 3)
    assert np.isfinite(levels).all()
    assert (np.diff(levels[:192], axis=0) > 0).all()
    gains = np.array([sensor.red, 1, sensor.blue])
    assert np.array_equal(np.argsort(levels[MID_GREY]), np.argsort(gains))


def test_shadows_and_highlights_are_calmer_than_the_middle_of_a_developed_photo():
    sigma = []
    for value in (0.02, 0.5, 0.99):
        gt = np.full((128, 128, 3), value, np.float32)
        residuals = [noise(gt, 3, default_rng(seed)).lq - gt for seed in range(8)]
        sigma.append(np.std(residuals))
    assert sigma[0] < sigma[1] > sigma[2]


def test_a_denoiser_leaves_soft_luma_and_faint_blotches():
    raw, smooth = (grain((256, 256), default_rng(0), denoised=fraction) for fraction in (0.0, 1.0))
    for noisy in (raw, smooth):
        assert np.sqrt(np.square(noisy).mean()) == pytest.approx(1, abs=0.02)
    assert correlation(luma(raw), 1) < 0.1
    assert correlation(red(raw), 1) < 0.1
    # The softest of the real pairs of PolyU show 0.70 in luma; 0.94 and 0.81 in chroma.
    assert correlation(luma(smooth), 1) == pytest.approx(0.70, abs=0.05)
    assert correlation(luma(smooth), 8) < 0.05
    assert correlation(red(smooth), 1) == pytest.approx(0.94, abs=0.06)
    assert correlation(red(smooth), 3) == pytest.approx(0.81, abs=0.1)
    assert red(smooth).std() < 0.5 * red(raw).std()


def test_light_is_clipped_after_the_noise_as_on_a_sensor():
    white = to_srgb(np.ones((64, 64, 3), np.float32))
    lq = noise(white, 30, default_rng(0)).lq
    assert 0.3 < (lq == 1).mean() < 0.7


SEEDS = range(12)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_denoiser_leaves_is_as_correlated_as_in_photos(seed):
    left, _ = residual_grain((256, 256), default_rng(seed))
    assert np.sqrt(np.square(left).mean()) == pytest.approx(1, abs=0.02)
    # Of twelve real pairs of PolyU: in luma 0.33 to 0.74 and 0.05 to 0.30, in chroma 0.83 to 0.94.
    assert 0.35 < correlation(luma(left), 1) < 0.85
    assert -0.05 < correlation(luma(left), 4) < 0.35
    assert 0.75 < correlation(red(left), 1) < 0.97
    assert correlation(red(left), 4) > 0.2


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_denoiser_leaves_has_less_high_frequencies_than_white_noise(seed):
    left, _ = residual_grain((256, 256), default_rng(seed))
    power = np.square(np.abs(np.fft.fft2(luma(left))))
    row, column = np.abs(np.meshgrid(*[np.fft.fftfreq(256)] * 2, indexing="ij"))
    high = np.maximum(row, column) > 0.25  # three quarters of all, of white noise
    assert power[high].sum() < 0.5 * power.sum()


def test_a_denoiser_leaves_more_at_edges():
    gt = np.full((128, 256, 3), 0.3, np.float32)
    gt[:, 128:] = 0.6
    residuals = [denoised(gt, 5, default_rng(seed)).lq - gt for seed in SEEDS]
    spread = np.std(residuals, axis=(0, 1, 3))
    beside = max(spread[40:88].mean(), spread[168:216].mean())
    assert spread[126:130].mean() > 1.2 * beside


@pytest.mark.parametrize("level", [2, 5, 10])
@pytest.mark.parametrize("seed", range(4))
def test_the_level_of_denoised_noise_is_its_rms_in_smooth_places(level, seed):
    gt = np.full((256, 256, 3), MID_GREY / 255, np.float32)
    residual = denoised(gt, level, default_rng(seed)).lq - gt
    assert 0.85 < np.sqrt(np.square(residual).mean()) * 255 / level < 1.1
