"""Other tones and softer detail of clean images, as augmentation (ours).

A network that learns from a few hundred photos overfits to them, and takes an unknown one that is
pale or dim for hazy or dark, and one that is soft for blurred; it colours a grey one.
"""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.synthesis.contract import Image
from maskdcpt_cli.synthesis.optics import in_colour

MIN_BRIGHTNESS = 0.5  # fraction of the brightness in sRGB that is left, at least
MIN_CONTRAST = 0.35  # fraction of the contrast that is left, at least
LEVELS = np.linspace(0, 1, 256)
LUMA = np.array([0.299, 0.587, 0.114])  # weights of red, green, blue (ITU-R BT.601)
MAX_UPSCALING = 2.5
ZOOM = (1.2, 2.5)  # enlarged so much, photos of 512 pixels are as soft as a camera's own pixels


def jitter_tones(pixels: Pixels, generator: Generator) -> Image:
    """Apply a random tone curve to a clean image: (H, W, 3), float32 in [0, 1]."""
    curve = tone_curve(generator)
    return np.stack([np.take(curve[:, c], pixels[..., c]) for c in range(3)], axis=-1)


def tone_curve(generator: Generator) -> NDArray[np.float32]:
    """Sample a tone curve: the value of each of 256 levels by channel, (256, 3), not decreasing."""
    dim, pale = generator.random(2) < 0.5
    exponent = 2 ** generator.uniform(-0.6, 1)
    tint = generator.normal(1, 0.06, 3)
    curve = np.clip(LEVELS[:, None] ** exponent * tint, 0, 1)
    if pale:
        grey = generator.random()
        curve = grey + generator.uniform(MIN_CONTRAST, 1) * (curve - grey)
    if dim:
        curve *= generator.uniform(MIN_BRIGHTNESS, 1)
    return curve.astype(np.float32)


def inverted(photo: Image, _generator: Generator) -> Image:
    """Return the negative of a clean image."""
    return 1 - photo


def black_and_white(photo: Image, generator: Generator) -> Image:
    """Return a clean image in greys, of weights as through a random filter: (H, W, 3)."""
    weights = LUMA * np.exp(generator.normal(0, 0.5, 3))
    grey = cv2.transform(photo, (weights / weights.sum())[None])
    return in_colour(np.asarray(grey, np.float32).reshape(photo.shape[:2]))


def without_colour(image: Image) -> Image:
    """Return an image with its luma in all three channels."""
    return in_colour(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32))


def upscaled(photo: Image, generator: Generator) -> Image:
    """Return a clean image as soft as one upscaled to its size: (H, W, 3), float32 in [0, 1]."""
    height, width = photo.shape[:2]
    factor = generator.uniform(1, MAX_UPSCALING)
    small = (max(round(width / factor), 1), max(round(height / factor), 1))
    smaller = cv2.resize(photo, small, interpolation=cv2.INTER_AREA)
    again = cv2.resize(smaller, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(again, 0, 1)


def zoomed(photo: Image, generator: Generator) -> Image:
    """Return a part of a clean image, enlarged to its size: (H, W, 3), float32 in [0, 1].

    So things are as large and as soft as at the pixels of a camera of 12 megapixels and more.
    """
    height, width = photo.shape[:2]
    factor, down, right = generator.uniform((ZOOM[0], 0, 0), (ZOOM[1], 1, 1))
    tall, wide = max(round(height / factor), 1), max(round(width / factor), 1)
    top, left = int(down * (height - tall + 1)), int(right * (width - wide + 1))
    part = photo[top : top + tall, left : left + wide]
    return np.clip(cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


def sharpened(photo: Image, generator: Generator) -> Image:
    """Return a clean image sharpened by an unsharp mask, as pictures of the web are."""
    sigma, amount = generator.uniform((0.5, 0.2), (1.2, 1))
    soft = np.asarray(cv2.GaussianBlur(photo, (0, 0), sigma), np.float32)
    return np.clip(photo + np.float32(amount) * (photo - soft), 0, 1)
