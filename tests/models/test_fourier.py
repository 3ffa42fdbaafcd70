"""Fourier transforms as matrix products, against the fast ones."""

import pytest
import torch

from maskdcpt_cli.models.fourier import WindowConvolution, low_pass


@pytest.mark.parametrize("size", [(1, 1), (8, 12), (15, 7), (64, 64)])
def test_low_pass_is_a_product_with_the_spectrum(size):
    x = torch.rand(2, 3, *size, dtype=torch.float64)
    cutoffs = torch.tensor([[0.05, 0.2], [0.1, 0.01]])
    rows, columns = (torch.fft.fftfreq(n) for n in size)
    down, across = (
        ((cutoffs[:, axis, None] - f) / 0.04).sigmoid()
        * ((cutoffs[:, axis, None] + f) / 0.04).sigmoid()
        for axis, f in enumerate((rows, columns))
    )
    response = down[:, None, :, None] * across[:, None, None, :]
    expected = torch.fft.ifft2(torch.fft.fft2(x) * response).real
    torch.testing.assert_close(low_pass(x, cutoffs, roll_off=0.04), expected, rtol=0, atol=1e-6)


def test_the_low_band_keeps_what_is_flat_and_loses_what_alternates():
    flat = torch.full((1, 1, 32, 32), 0.5)
    alternating = (torch.arange(32) % 2).float().view(1, 1, 1, 32).expand(1, 1, 32, 32) - 0.5
    cutoffs = torch.tensor([[0.25, 0.25]])
    torch.testing.assert_close(low_pass(flat, cutoffs, roll_off=0.04), flat, rtol=0.01, atol=0)
    assert low_pass(alternating, cutoffs, roll_off=0.04).abs().max() < 0.01


@pytest.mark.parametrize("window", [4, 8, 16, 32])
@pytest.mark.parametrize("windows", [(1, 1), (2, 3)])
def test_windows_are_convolved_circularly(window, windows):
    rows, columns = windows
    pair = torch.rand(2, 6, rows * window, columns * window)
    ours = WindowConvolution(window)(pair)
    assert ours.shape == (2, 3, rows * window, columns * window)
    for y in range(0, rows * window, window):
        for x in range(0, columns * window, window):
            cut = (..., slice(y, y + window), slice(x, x + window))
            a, b = torch.fft.fft2(pair[cut]).chunk(2, dim=1)
            expected = torch.fft.ifft2(a * b).real / window
            torch.testing.assert_close(ours[cut], expected, rtol=1e-4, atol=1e-4)


def test_windows_that_the_edge_cuts_are_filled_with_zeros():
    pair = torch.rand(1, 4, 5, 11)
    filled = torch.zeros(1, 4, 8, 16)
    filled[..., :5, :11] = pair
    convolve = WindowConvolution(8)
    torch.testing.assert_close(convolve(pair), convolve(filled)[..., :5, :11])
