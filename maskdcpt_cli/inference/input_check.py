"""Tells images that hold nothing to restore, which a network would only harm."""

import numpy as np

from maskdcpt_cli.images.arrays import Native

SMALLEST = 16  # pixels a side; NAFNet returns images of 15x15 at 9 dB
FLAT = 8 / 255  # range of values of an image that is all black, all white or of one colour


def why_untouched(pixels: Native) -> str | None:
    """Return why an image (H, W, C) is best left as it is, a sentence; None if it is not."""
    height, width, channels = pixels.shape
    if min(height, width) < SMALLEST:
        return (
            f"It is left as it is: {width}x{height} pixels are too few to restore, "
            f"at least {SMALLEST} a side are needed."
        )
    peak = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    flat = (_range(pixels[..., i]) <= FLAT * peak for i in range(channels))
    return "It is left as it is: it is all of one colour." if all(flat) else None


def is_grey(pixels: Native) -> bool:
    """Whether an RGB image (H, W, 3) shows no colour: R = G = B everywhere."""
    red, green, blue = (pixels[..., i] for i in range(3))
    return np.array_equal(red, green) and np.array_equal(green, blue)


def _range(channel: Native) -> float:
    """The difference of the largest and the smallest value; NaN counts for nothing."""
    return float(np.fmax.reduce(channel, axis=None)) - float(np.fmin.reduce(channel, axis=None))
