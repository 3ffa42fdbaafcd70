"""Checks for inputs that hold nothing to restore, whose PSNR a network would only lower."""

import numpy as np

from maskdcpt_cli.images.arrays import Native

SMALLEST = 16  # pixels a side; NAFNet returns images of 15x15 at 9 dB
FLAT = 8 / 255  # range of values of an image that is all black, all white or of one colour


def why_untouched(pixels: Native, alpha: Native | None = None) -> str | None:
    """Return a sentence saying why an image is left unchanged; None to restore it.

    `pixels` are (H, W, C), `alpha` is (H, W).
    """
    height, width, channels = pixels.shape
    if min(height, width) < SMALLEST:
        return (
            f"It is left as it is: {width}x{height} pixels are too few to restore, "
            f"at least {SMALLEST} a side are needed."
        )
    if alpha is not None and not alpha.any():
        return "It is left as it is: none of its pixels is visible."
    peak = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    flat = (_range(pixels[..., i]) <= FLAT * peak for i in range(channels))
    return "It is left as it is: it is all of one colour." if all(flat) else None


def is_grey(pixels: Native) -> bool:
    """Return whether an RGB image (H, W, 3) is grey: R = G = B everywhere."""
    red, green, blue = (pixels[..., i] for i in range(3))
    return np.array_equal(red, green) and np.array_equal(green, blue)


def _range(channel: Native) -> float:
    """Return the largest value minus the smallest, ignoring NaN."""
    return float(np.fmax.reduce(channel, axis=None)) - float(np.fmin.reduce(channel, axis=None))
