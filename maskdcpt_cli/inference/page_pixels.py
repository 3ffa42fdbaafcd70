"""The pixels of a page: to the device of the network as sRGB, and back in the depth of the file."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from maskdcpt_cli.images.arrays import Native
from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.inference.backends.transfer import DTYPES, Mark, Transfer
from maskdcpt_cli.inference.tiling import Band

RGB = 3  # channels


@dataclass(frozen=True)
class PagePixels:
    """Pixels (H, W, C) of a page and their conversion to sRGB and back.

    RGB integers that are sRGB cross as they are, and are converted on the device. All other pixels
    are converted by their `Colour` on the CPU, and cross as fp32.
    """

    source: Native
    colour: Colour
    strength: float  # 0 is the input, 1 the output of the network
    transfer: Transfer

    @property
    def converted_on_device(self) -> bool:
        dtype = self.source.dtype
        known = dtype.kind == "u" and dtype in DTYPES
        if self.transfer.device.type == "mps":  # which computes with few types
            known = dtype == np.uint8
        return known and self.source.shape[2] == RGB and self.colour.is_plain(RGB)

    def read(self, rows: slice, columns: slice) -> Tensor:
        """Return a rectangle as sRGB (3, h, w) on the device."""
        native = self.source[rows, columns]
        if self.converted_on_device:
            lq = _unit(self.transfer.upload(native).to(torch.float32), _peak(native))
        else:
            lq = self.transfer.upload(self.colour.to_srgb(native))
        return lq.permute(2, 0, 1)

    def restored(self, band: Band, mark: Mark) -> Native:
        """Return the rows of a band, which is there at `mark`, as the file stores them."""
        native = self.source[band.rows]
        restored = band.restored.permute(1, 2, 0)
        if self.converted_on_device:
            with self.transfer.beside(mark, band.restored):
                pixels = self.transfer.upload(native)
                return self.transfer.fetch(self._blended(pixels, restored, _peak(native)))()
        lq = self.colour.to_srgb(native)
        with self.transfer.beside(mark, band.restored):
            on_host = self.transfer.fetch(restored)()
        if self.strength < 1:
            on_host = lq + self.strength * (on_host.clip(0, 1) - lq)
        return self.colour.from_srgb(on_host, lq, native)

    def on_cpu(self) -> "PagePixels":
        return replace(self, transfer=Transfer("cpu"))

    def _blended(self, pixels: Tensor, restored: Tensor, peak: float) -> Tensor:
        """Return pixels (h, w, 3) plus their change, as `Colour.from_srgb` computes it."""
        native = pixels.to(torch.float32)
        lq = _unit(native, peak)
        if self.strength < 1:
            restored = lq + self.strength * (restored.clamp(0, 1) - lq)
        change = restored.clamp(0, 1).sub_(lq)
        return change.mul_(peak).add_(native).round_().clamp_(0, peak).to(pixels.dtype)


def _peak(native: Native) -> float:
    return float(np.iinfo(native.dtype).max)


def _unit(native: Tensor, peak: float) -> Tensor:
    # By a tensor: CUDA multiplies by the reciprocal of a number, which rounds otherwise.
    return native / torch.full((), peak, device=native.device)
