"""Defocus: apertures, and depth."""

import cv2
import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.synthesis.defocus import Aperture, aperture_kernel, bokeh, depth, disc, flat
from maskdcpt_cli.synthesis.light import to_linear

ROUND = Aperture(blades=7, roundness=1, angle=0, rim=0)
EDGED = Aperture(blades=5, roundness=0.3, angle=0.4, rim=0.5)


def sharpness(image):
    fine = np.abs(cv2.Laplacian(image, cv2.CV_32F)).mean(2)
    return cv2.resize(fine, (8, 8), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("aperture", [ROUND, EDGED], ids=["round", "edged"])
@pytest.mark.parametrize("radius", [0, 0.7, 3, 8, 30])
def test_a_kernel_keeps_all_light_and_its_middle(radius, aperture):
    kernel = aperture_kernel(radius, aperture)
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert kernel.min() >= 0
    assert kernel.sum(0) @ offsets == pytest.approx(0, abs=0.1)
    assert kernel.sum(1) @ offsets == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("radius", [2, 5.5, 12])
def test_a_round_aperture_is_a_disc_of_that_radius(radius):
    kernel = aperture_kernel(radius, ROUND)
    assert 1 / kernel.max() == pytest.approx(np.pi * radius**2, rel=0.05)
    reach = np.arange(len(kernel)) - len(kernel) // 2
    assert np.abs(reach[kernel.sum(0) > 0]).max() <= radius + 1


def test_blades_make_an_aperture_smaller_than_its_circle():
    disc, polygon = (aperture_kernel(12, aperture) for aperture in (ROUND, EDGED))
    assert ((polygon > 0) <= (disc > 0)).all()
    assert (polygon > 0).sum() < 0.95 * (disc > 0).sum()


def test_a_lamp_out_of_focus_is_a_disc_of_light():
    image = np.full((96, 96, 3), 0.05, np.float32)
    image[46:50, 46:50] = 1
    for seed in range(4):
        lq = flat(image, 8, default_rng(seed)).lq
        disc = np.argwhere(lq.mean(2) > 0.15)
        assert 12 < np.ptp(disc, axis=0).max() <= 22
        assert to_linear(lq)[40:56, 40:56].mean() > 1.5 * to_linear(image)[0, 0].mean()


def test_a_scene_is_sharp_where_in_focus_and_nowhere_blurrier_than_all_out_of_focus():
    gt = default_rng(0).random((128, 128, 3), dtype=np.float32)
    ratios = []
    for seed in range(8):
        some, whole = (sharpness(blur(gt, 6, default_rng(seed)).lq) for blur in (depth, flat))
        assert some.min() > 0.8 * whole.min()
        ratios.append(some.max() / some.min())
    assert np.median(ratios) > 3


def lamps(*places):
    image = np.full((96, 96, 3), 0.05, np.float32)
    for y, x in places:
        image[y - 1 : y + 1, x - 1 : x + 1] = 1
    return image


@pytest.mark.parametrize("seed", range(8))
def test_bokeh_draws_a_disc_with_an_edge_of_each_lamp(seed):
    degraded = bokeh(lamps((30, 30), (60, 64)), 8, default_rng(seed))
    light = to_linear(degraded.lq)[..., 1]
    outside = to_linear(np.full((1, 1, 3), 0.05, np.float32))[0, 0, 1]
    for y, x in ((30, 30), (60, 64)):
        around = light[y - 12 : y + 12, x - 12 : x + 12]
        inside = around > outside + 0.5 * (around.max() - outside)
        assert 100 < inside.sum() < 230  # a disc of radius 8 has 201 pixels
        steps = np.abs(np.diff(around, axis=1)).max()
        assert steps > 0.3 * (around.max() - outside), "within a pixel"


def test_bokeh_of_lamps_is_brighter_than_that_of_the_same_light_without_weights():
    image = lamps((48, 48))
    bright = [bokeh(image, 8, default_rng(seed)).lq[43:53, 43:53].mean() for seed in range(8)]
    even = disc(image, 8, default_rng(0)).lq[43:53, 43:53].mean()
    assert min(bright) > 1.3 * even


def test_a_disc_is_the_mean_of_srgb_values():
    gt = default_rng(0).random((64, 64, 3), dtype=np.float32)
    lq = disc(gt, 4, default_rng(0)).lq
    expected = np.tensordot(aperture_kernel(4, ROUND), gt[27:38, 27:38], 2)
    np.testing.assert_allclose(lq[32, 32], expected, atol=1e-5)
