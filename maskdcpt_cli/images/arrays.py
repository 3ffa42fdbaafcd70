"""Types of the arrays of images, and the values of depths between 8 and 16 bits."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Float: TypeAlias = NDArray[np.floating[Any]]  # for computing; float32 unless stated otherwise
Native: TypeAlias = NDArray[Any]  # as stored: uint8, uint16, float16, float32 or float64
Pixels: TypeAlias = NDArray[np.uint8]  # (H, W, 3), sRGB


def full_range(values: Native, bits: int) -> Native:
    """Return values from 0 to 2**bits - 1, of at most 16 bits, over the whole range of uint16."""
    peak = 2**bits - 1
    table = (np.arange(peak + 1, dtype=np.uint32) * 65535 + peak // 2) // peak
    scaled: Native = table.astype(np.uint16).take(values, mode="clip")
    return scaled
