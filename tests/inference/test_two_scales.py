"""Denoising at two scales."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from maskdcpt_cli.inference.two_scales import FACTOR, TwoScales, downsample, recompose
from maskdcpt_cli.models.backbone import pad_by_reflection
from tests.inference.local import Local, Restoring


def average(lq: Tensor) -> Tensor:
    """A denoiser that sees 5 x 5 pixels: it leaves blotches, and no detail."""
    return F.avg_pool2d(lq, 5, 1, 2, count_include_pad=False)


def noise(*size: int) -> Tensor:
    return 0.1 * torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))


def rms(image: Tensor) -> float:
    return float(image.square().mean().sqrt())


def test_blotches_that_the_finer_scale_leaves_are_removed() -> None:
    lq = 0.5 + noise(128, 128)
    assert rms(TwoScales(Local(average))(lq) - 0.5) < 0.7 * rms(average(lq) - 0.5)


def test_detail_that_the_coarser_scale_loses_is_kept() -> None:
    stripes = torch.tensor([0.2] * 4 + [0.8] * 4).repeat(16).expand(1, 3, 128, 128).clone()
    stripes[..., :64, :] = 0.5

    def sharp_at_its_own_scale(lq: Tensor) -> Tensor:
        return stripes if lq.shape == stripes.shape else average(lq)

    restored = TwoScales(Local(sharp_at_its_own_scale))(stripes + noise(128, 128))
    assert rms(restored - stripes) < 0.02
    coarse = average(downsample(stripes + noise(128, 128)))
    assert rms(coarse - downsample(stripes)) > 0.15  # what would have taken its place


def test_images_of_a_batch_do_not_depend_on_each_other() -> None:
    lq = torch.cat([0.5 + noise(32, 32), 0.5 + 3 * noise(32, 32)])
    denoise = TwoScales(Local(average))
    torch.testing.assert_close(denoise(lq)[:1], denoise(lq[:1]))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 5), (64, 33)])
def test_what_needs_no_change_stays_bit_by_bit(size: tuple[int, int]) -> None:
    lq = torch.full((1, 3, *size), 0.25)
    assert torch.equal(TwoScales(Local(lambda lq: lq.clone()))(lq), lq)


def test_tiles_are_as_the_whole_image() -> None:
    image = (0.5 + noise(200, 150))[0]
    whole = TwoScales(Local(average))(image[None])[0]
    tiled = Restoring(image)(TwoScales(Local(average)), tile=96, overlap=32).canvas
    assert (tiled - whole).abs().max() < 0.04
    assert rms(tiled - 0.5) < 0.7 * rms(average(image) - 0.5)


def test_both_scales_are_recorded_and_reduced_tiles_are_padded() -> None:
    network = Local(average)
    tiles, boxes = torch.rand(2, 3, 48, 32), torch.tensor([[0.0, 0, 0.5, 1], [0.5, 0, 0.5, 1]])
    restore = TwoScales(network, multiple=16, pad=pad_by_reflection).record(tiles, boxes)
    sizes = [seen.shape[-2:] for seen, _boxes in network.recorded]
    assert sizes == [(48, 32), (48 / FACTOR, 16)]
    assert all(torch.equal(at, boxes) for _tiles, at in network.recorded)
    restored = restore(tiles[:1], boxes[:1])
    expected = TwoScales(network)(tiles[:1])
    torch.testing.assert_close(restored[..., :20], expected[..., :20], atol=0.005, rtol=0)


def test_low_frequencies_come_from_the_coarser_scale_where_the_scales_nearly_agree() -> None:
    fine = torch.full((1, 3, 8 * FACTOR, 8 * FACTOR), 0.5)
    near, far = (torch.full((1, 3, 8, 8), 0.5 + by) for by in (0.01, 0.3))
    lq = fine + noise(*fine.shape[-2:])
    torch.testing.assert_close(recompose(lq, fine, downsample(lq), near), fine + 0.01)
    lq = fine + 0.3 + noise(*fine.shape[-2:]) / 2
    assert (recompose(lq, fine, downsample(lq), far) - fine).abs().max() < 0.01


def test_where_noise_is_clipped_means_come_from_the_finer_scale() -> None:
    black = torch.zeros(1, 3, 96, 96)
    lq = (black + noise(96, 96)).clamp(min=0)  # of which the mean is 0.04

    def knows_what_clips(lq: Tensor) -> Tensor:
        return black if lq.shape == black.shape else average(lq)

    assert TwoScales(Local(knows_what_clips))(lq).mean() < 0.002
