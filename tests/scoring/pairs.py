"""Small restored images and their ground truths, of photographs of the project."""

from pathlib import Path

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"


def photograph(number: int, *, width: int = 48, height: int = 40) -> NDArray[np.uint8]:
    photos = sorted(EXAMPLES.glob("*.jpg"))
    with Image.open(photos[number % len(photos)]) as photo:
        left = photo.width // 3 + 7 * number
        return np.asarray(photo.crop((left, 60, left + width, 60 + height)).convert("RGB"))


def noisy(pixels: NDArray[np.uint8], sigma: float, *, seed: int = 0) -> NDArray[np.uint8]:
    noise = default_rng(seed).normal(0, sigma, pixels.shape)
    return (pixels + noise).round().clip(0, 255).astype(np.uint8)


def write(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def two_folders(place: Path, *, pairs: int = 3) -> tuple[Path, Path]:
    """Restored images whose noise grows with their number, and ground truths."""
    for number in range(pairs):
        gt = photograph(number)
        write(place / "gt" / f"{number}.png", gt)
        write(place / "restored" / f"{number}.png", noisy(gt, 4 + 8 * number, seed=number))
    return place / "restored", place / "gt"
