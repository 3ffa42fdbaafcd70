"""Fourier transforms as matrix products: exported networks cannot run the fast one."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def low_pass(x: Tensor, cutoffs: Tensor, *, roll_off: float) -> Tensor:
    """Return the low band of maps, as by their Fourier transform.

    Args:
        x: (B, C, h, w).
        cutoffs: (B, 2), vertical and horizontal, in cycles per position; B may be 1.
        roll_off: Of the response beyond a cut-off, in cycles per position: it falls by a factor e.
    """
    exact = torch.promote_types(x.dtype, torch.float32)
    down, across = (
        _circulant(cutoffs[:, axis, None].to(exact), size, roll_off).to(x.dtype)[:, None]
        for axis, size in enumerate(x.shape[-2:])
    )
    return down @ x @ across


def _circulant(cutoff: Tensor, size: int, roll_off: float) -> Tensor:
    """Return the filters (B, size, size) of cut-offs (B, 1): circular convolutions along an axis.

    The response at frequency f is the product of the sigmoids of (cutoff +- f) / roll_off, which
    is smooth at f = 0: its kernel falls off exponentially.
    """
    n = torch.arange(size, device=cutoff.device)
    frequency = n.to(cutoff.dtype) / size
    frequency = torch.where(2 * n < size, frequency, frequency - 1)
    response = ((cutoff - frequency) / roll_off).sigmoid()
    response = response * ((cutoff + frequency) / roll_off).sigmoid()
    kernel = (response[:, None] * _phases(n, size, cutoff.dtype).cos()).mean(dim=-1)
    return kernel[:, (n[:, None] - n) % size]


class WindowConvolution(nn.Module):
    """Circular convolution of two maps within windows: their spectra are multiplied."""

    cosine: Tensor
    sine: Tensor
    weight: Tensor

    def __init__(self, window: int) -> None:
        """Prepare for windows of an even number of positions a side."""
        super().__init__()
        self.window = window
        self.bins = window // 2 + 1  # frequencies of a real signal along an axis
        phases = _phases(torch.arange(window), window, torch.float32)
        weight = torch.full((self.bins, 1), 2.0)  # those left out are the conjugates of these
        weight[0] = weight[-1] = 1.0
        self.register_buffer("cosine", phases.cos(), persistent=False)
        self.register_buffer("sine", phases.sin(), persistent=False)
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, pair: Tensor) -> Tensor:
        """Return (B, C, h, w) of both halves of the channels of (B, 2 C, h, w), over `window`.

        Positions beyond the edge, in windows that it cuts, are zero.
        """
        height, width = pair.shape[-2:]
        size = self.window
        pair = F.pad(pair, (0, -width % size, 0, -height % size))
        batch, channels, rows, columns = pair.shape
        windows = pair.reshape(batch, channels, rows // size, size, columns // size, size)
        real, imaginary = self._spectra(windows.transpose(3, 4))
        (a, c), (b, d) = real.chunk(2, dim=1), imaginary.chunk(2, dim=1)
        y = self._signals(a * c - b * d, a * d + b * c)  # (a + ib)(c + id)
        return y.transpose(3, 4).reshape(batch, -1, rows, columns)[..., :height, :width]

    def _spectra(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return real and imaginary part (..., window, bins) of the spectra of windows.

        Scaled so that fp16 holds their products.
        """
        cosine, sine = (matrix * self.window**-0.75 for matrix in (self.cosine, self.sine))
        real, imaginary = x @ cosine[:, : self.bins], -x @ sine[:, : self.bins]
        return cosine @ real + sine @ imaginary, cosine @ imaginary - sine @ real

    def _signals(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Return the windows of spectra (..., window, bins), without a scale."""
        cosine, sine = self.cosine, self.sine
        real, imaginary = cosine @ real - sine @ imaginary, cosine @ imaginary + sine @ real
        cosine, sine = (self.weight * matrix[: self.bins] for matrix in (cosine, sine))
        return real @ cosine - imaginary @ sine


def _phases(n: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Return the angles of frequency i at position j."""
    return (n[:, None] * n % size).to(dtype) * (2 * torch.pi / size)
