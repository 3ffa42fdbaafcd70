"""Protocols, that is exact definitions, of PSNR and SSIM; only equal protocols can be compared."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

Options = Mapping[str, bool | int | float | str]

# Added by pyiqa to the squared error of values in [0, 1].
FLOOR = 1e-8
NO_FLOOR = 1e-12  # identical images have 120 dB instead of infinity


class Protocol(NamedTuple):
    """Preparation of images for PSNR and SSIM; other metrics keep pyiqa's own."""

    name: str
    source: str  # origin, as the end of "as ..."
    colour: Literal["rgb", "y", "pyiqa"]  # y: luma of ITU-R BT.601 as in MATLAB's rgb2ycbcr
    border: int = 0  # pixels cropped from each side
    floor: float = FLOOR

    def options(self, metric: str) -> Options:
        """Return the options of pyiqa's create_metric."""
        crop: Options = {"crop_border": self.border} if self.border else {}
        if metric not in ("psnr", "ssim"):
            return crop if metric in ("psnry", "ssimc") else {}
        if self.colour == "pyiqa":
            return crop
        luma: Options = {"test_y_channel": self.colour == "y"}
        if self.colour == "y":  # at a range of 255 pyiqa rounds luma, as MATLAB does
            luma = {**luma, "color_space": "ycbcr"}
            luma = {**luma, "data_range": 255} if metric == "psnr" else luma
        elif metric == "psnr":
            luma = {**luma, "eps": self.floor}
        return {**luma, **crop}

    def describe(self) -> str:
        """Describe the protocol in one sentence, to compare figures with others."""
        colour = {
            "rgb": "PSNR and SSIM in sRGB (SSIM the mean over channels)",
            "y": "PSNR and SSIM of luma (Y of YCbCr, ITU-R BT.601, 16 to 235, rounded)",
            "pyiqa": "PSNR in sRGB, SSIM of luma (Y of YIQ, rounded)",
        }[self.colour]
        border = (
            f"{self.border} pixels cropped from each side" if self.border else "no border cropped"
        )
        floor = ", nothing added to the squared error" if self.floor < FLOOR else ""
        return (
            f"{colour}, {border}, 8 bits per channel in [0, 1]{floor}; Gaussian window of 11x11, "
            f"sigma 1.5, no downsampling; as {self.source}. Other metrics: pyiqa's own settings."
        )


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        protocol.name: protocol
        for protocol in (
            Protocol("maskdcpt", "in the paper (Sec. V)", "rgb"),
            Protocol("restormer-derain", "Restormer's MATLAB script for deraining", "y"),
            Protocol("basicsr", "BasicSR's options for restoration", "rgb", floor=NO_FLOOR),
            Protocol("pyiqa", "in pyiqa's own command", "pyiqa"),
        )
    }
)
DEFAULT = PROTOCOLS["maskdcpt"]
