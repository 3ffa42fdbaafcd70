"""Small data sets on disk, of real photographs."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.random import default_rng
from PIL import Image

from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.images.reading import read_rgb
from maskdcpt_cli.synthesis.table import degrade

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = ("bee-blur.jpg", "coffee-jpeg.jpg", "kitchen-dark.jpg", "town-haze.jpg")
HEIGHT, WIDTH = 120, 160


@cache
def photos() -> Sequence[Pixels]:
    """Parts of photographs, (HEIGHT, WIDTH, 3), none in another, the dull ones left out."""
    found: list[Pixels] = []
    for name in NAMES:
        photo = read_rgb(EXAMPLES / name)
        for top in range(0, photo.shape[0] - HEIGHT, HEIGHT):
            for left in range(0, photo.shape[1] - WIDTH, WIDTH):
                part = photo[top : top + HEIGHT, left : left + WIDTH]
                if part.std() > 30:
                    found.append(part)
    return found


def degraded(photo: Pixels, degradation: str, *, seed: int = 0) -> Pixels:
    gt = np.divide(photo, 255, dtype=np.float32)
    return np.rint(degrade(gt, degradation, default_rng(seed)).lq * 255).astype(np.uint8)


def save(path: Path, image: Pixels, **options: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
