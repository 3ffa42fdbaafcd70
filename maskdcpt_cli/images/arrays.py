"""What the arrays of images are called in this package."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Float: TypeAlias = NDArray[np.floating[Any]]  # computed with; float32 unless said otherwise
Native: TypeAlias = NDArray[Any]  # as stored: uint8, uint16, float16, float32 or float64
Pixels: TypeAlias = NDArray[np.uint8]  # (H, W, 3), sRGB
