"""Defocus: apertures, and depth."""

import cv2
import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.synthesis.defocus import Aperture, aperture_kernel, depth, flat
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
