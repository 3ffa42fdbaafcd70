"""Moire: coloured bands of the predicted width, and an image that stays in place."""

import cv2
import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.synthesis.moire import ROW, STRIPE, _profile, _sampled, _View, screen

SEEDS = range(8)
STRAIGHT = _View(
    order=1, density=0.48, turn=0, aside_x=0, aside_y=0, distortion=0, centre_x=0, centre_y=0,
    blur=0.4, resampling=0.5, exposure=0.6, glare=0, warmth=0,
)  # fmt: skip


def blobs(height=192, width=256):
    noise = cv2.GaussianBlur(default_rng(1).random((height, width, 3), dtype=np.float32), (0, 0), 5)
    return ((noise - noise.min()) / (noise.max() - noise.min())).astype(np.float32)


@pytest.mark.parametrize("density", [0.48, 0.49, 0.52])
def test_bands_are_as_wide_as_the_beat_of_stripes_and_sites(density):
    light = np.full((64, 600, 3), 0.5, np.float32)
    red = _sampled(light, STRAIGHT._replace(density=density))[::2, ::2].mean(0)
    strength = np.abs(np.fft.rfft(red - red.mean()))
    assert strength.argmax() == round(abs(1 - 2 * density) * len(red))


def test_bands_of_different_colours_are_side_by_side():
    raw = _sampled(np.full((64, 600, 3), 0.5, np.float32), STRAIGHT)
    red, blue = raw[::2, ::2].mean(0), raw[1::2, 1::2].mean(0)
    assert np.corrcoef(red, blue)[0, 1] < 0.5


@pytest.mark.parametrize("fraction", [STRIPE, ROW])
@pytest.mark.parametrize("density", [0.25, 0.5])
def test_a_screen_neither_adds_nor_takes_light(fraction, density):
    profile = _profile(fraction, STRAIGHT._replace(density=density))
    assert profile.mean() == pytest.approx(1, abs=0.01)
    assert profile.argmax() == 0


def test_a_blurrier_lens_sees_less_of_the_stripes():
    contrasts = [_profile(STRIPE, STRAIGHT._replace(blur=blur)).std() for blur in (0.2, 0.5, 1, 2)]
    assert contrasts == sorted(contrasts, reverse=True)
    assert contrasts[-1] < 0.01


@pytest.mark.parametrize("seed", SEEDS)
def test_the_image_stays_in_position(seed):
    gt = blobs()
    lq = screen(gt, 1, default_rng(seed)).lq
    smooth = [cv2.GaussianBlur(image.mean(2), (0, 0), 3).astype(np.float64) for image in (gt, lq)]
    (right, down), _ = cv2.phaseCorrelate(*smooth, cv2.createHanningWindow((256, 192), cv2.CV_64F))
    assert max(abs(right), abs(down)) < 0.5
    assert np.corrcoef(smooth[0].ravel(), smooth[1].ravel())[0, 1] > 0.8


@pytest.mark.parametrize("seed", SEEDS)
def test_half_the_strength_is_half_way_there(seed):
    gt = blobs()
    half, full = (screen(gt, level, default_rng(seed)).lq for level in (0.5, 1))
    np.testing.assert_allclose(half, (gt + full) / 2, atol=1e-5)


def test_grey_images_get_coloured_bands():
    grey = np.full((128, 128, 3), 0.6, np.float32)
    bands = []
    for seed in range(20):
        lq = cv2.GaussianBlur(screen(grey, 1, default_rng(seed)).lq, (0, 0), 2)
        bands.append((lq[..., 0] - lq[..., 1]).std())
    assert np.median(bands) > 0.01
