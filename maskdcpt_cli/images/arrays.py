"""Types of the arrays of images."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Float: TypeAlias = NDArray[np.floating[Any]]  # for computing; float32 unless stated otherwise
Native: TypeAlias = NDArray[Any]  # as stored: uint8, uint16, float16, float32 or float64
Pixels: TypeAlias = NDArray[np.uint8]  # (H, W, 3), sRGB
