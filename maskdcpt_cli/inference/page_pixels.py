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

    @property
    def level(self) -> float:
        """Return the step between the values of integer pixels, of 1; 0 for floating point."""
        dtype = self.source.dtype
        return 0.0 if dtype.kind == "f" else 1 / np.iinfo(dtype).max

    def read(self, rows: slice, columns: slice) -> Tensor:
        """Return a rectangle as sRGB (3, h, w) on the device."""
        native = self.source[rows, columns]
        if self.converted_on_device:
            lq = self.transfer.upload(native).to(torch.float32).div_(self._scale())
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
                scale = self._scale()
                return self.transfer.fetch(self._blended(pixels, restored, scale))()
        lq = self.colour.to_srgb(native)
        with self.transfer.beside(mark, band.restored):
            on_host = self.transfer.fetch(restored)()
        if self.strength < 1:
            on_host = lq + self.strength * (on_host.clip(0, 1) - lq)
        return self.colour.from_srgb(on_host, lq, native)

    def on_cpu(self) -> "PagePixels":
        return replace(self, transfer=Transfer("cpu"))

    def _blended(self, pixels: Tensor, restored: Tensor, scale: Tensor) -> Tensor:
        """Return pixels (h, w, 3) plus their change, as `Colour.from_srgb` computes it."""
        native = pixels.to(torch.float32)
        lq = native / scale
        if self.strength < 1:
            restored = lq + self.strength * (restored.clamp(0, 1) - lq)
        change = restored.clamp(0, 1).sub_(lq).mul_(scale).add_(native).round_()
        change.clamp_(0, np.iinfo(self.source.dtype).max)
        return change.to(pixels.dtype, memory_format=torch.contiguous_format)

    def _scale(self) -> Tensor:
        """Return the largest value of integer pixels, on the device.

        CUDA would divide by a number by multiplying, which rounds otherwise.
        """
        return torch.full((), float(np.iinfo(self.source.dtype).max), device=self.transfer.device)
