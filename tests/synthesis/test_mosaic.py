"""The pattern and what demosaicing keeps of it."""

import cv2
import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.synthesis.mosaic import bggr


@pytest.mark.parametrize("colour", [(0.8, 0.5, 0.2), (0.1, 0.9, 0.4), (1, 0, 0), (0, 0, 1)])
def test_a_flat_image_comes_back_in_its_colours(colour):
    gt = np.empty((17, 24, 3), np.float32)
    gt[:] = colour
    assert np.abs(bggr(gt, 1, default_rng(0)).lq - gt).max() < 1e-4


def test_a_pixel_keeps_the_colour_of_its_filter():
    gt = default_rng(0).random((32, 40, 3), dtype=np.float32)
    kept = np.abs(bggr(gt, 1, default_rng(0)).lq - gt)[2:-2, 2:-2] < 1e-4
    assert kept[::2, ::2, 2].all()  # blue
    assert kept[::2, 1::2, 1].all()
    assert kept[1::2, ::2, 1].all()
    assert kept[1::2, 1::2, 0].all()  # red
    assert kept.mean() < 0.4


def test_it_is_opencv_s_edge_aware_demosaicing():
    gt = default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.float32) / 255
    mosaic = gt[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = gt[::2, ::2, 2], gt[1::2, 1::2, 0]
    eight_bits = cv2.cvtColor(np.rint(mosaic * 255).astype(np.uint8), cv2.COLOR_BayerRG2RGB_EA)
    assert np.abs(bggr(gt, 1, default_rng(0)).lq * 255 - eight_bits).max() < 1.01


def test_the_level_mixes():
    gt = default_rng(0).random((16, 16, 3), dtype=np.float32)
    half, full = (bggr(gt, level, default_rng(0)).lq for level in (0.5, 1))
    assert np.abs(half - (gt + full) / 2).max() < 1e-5
