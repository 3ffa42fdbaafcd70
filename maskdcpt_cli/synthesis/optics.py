"""Shared parts of optical models: linear light, and its convolution."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskdcpt_cli.synthesis.contract import Image
from maskdcpt_cli.synthesis.light import to_linear

Plane = NDArray[np.float32]  # (H, W)
DIRECT = 11  # the largest kernel that filter2D does not hand to its own, slower transform
FULL_SCALE = 0.999


def scene_light(image: Image, generator: Generator) -> tuple[Image, float]:
    """Return linear light, and the factor by which it exceeded 1 where the image is clipped.

    A lamp that moves or is out of focus draws a bright line or disc in a real photo, because the
    sensor saw only the least of its light (Rim et al., Realistic Blur Synthesis, ECCV 2022).
    """
    brightness = 1 + 3 * generator.random()
    light = to_linear(image)
    light[image >= FULL_SCALE] *= np.float32(brightness)
    return light, brightness


def spread(light: NDArray[np.float32], kernel: Plane) -> NDArray[np.float32]:
    """Convolve (H, W) or (H, W, 3) with a kernel of odd side, mirroring light at the borders."""
    if len(kernel) <= DIRECT:
        turned = np.ascontiguousarray(kernel[::-1, ::-1])  # filter2D correlates
        filtered = cv2.filter2D(light, -1, turned, borderType=cv2.BORDER_REFLECT_101)
        return np.asarray(filtered, np.float32).reshape(light.shape)
    height, width = light.shape[:2]
    rows, columns = (cv2.getOptimalDFTSize(n + len(kernel) - 1) for n in (height, width))
    margin = len(kernel) // 2
    borders = margin, rows - height - margin, margin, columns - width - margin
    inside = slice(2 * margin, 2 * margin + height), slice(2 * margin, 2 * margin + width)
    transfer = np.zeros((rows, columns), np.float32)
    transfer[: len(kernel), : len(kernel)] = kernel
    cv2.dft(transfer, transfer)
    result = np.empty(light.shape, np.float32)
    for channel in np.ndindex(light.shape[2:]):
        at = ..., *channel
        plane = cv2.copyMakeBorder(light[at], *borders, cv2.BORDER_REFLECT_101)
        cv2.dft(plane, plane)
        cv2.mulSpectrums(plane, transfer, 0, plane)
        cv2.dft(plane, plane, cv2.DFT_INVERSE | cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT)
        result[at] = plane[inside]
    return result


def in_colour(plane: Plane) -> Image:
    """Repeat a plane in three channels; to multiply by a last axis of 1 is many times slower."""
    return np.asarray(cv2.cvtColor(plane, cv2.COLOR_GRAY2RGB), np.float32)
