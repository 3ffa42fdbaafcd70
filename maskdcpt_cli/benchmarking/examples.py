"""Crops of images that show the effect of a restoration."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from maskdcpt_cli.benchmarking.test_sets import EvalSample
from maskdcpt_cli.files import check_inside, written
from maskdcpt_cli.images.contact_sheets import Region, most_different
from maskdcpt_cli.synthesis.contract import Image

FOLDER = "examples"
SIDE = 192  # of a crop, in pixels
PER_SET = 2  # images of a test set
PARTS = ("input", "restored", "ground truth")

Pixels = NDArray[np.uint8]  # (H, W, 3), sRGB


class ExampleCrop(NamedTuple):
    """The same crop of the input, the restored image and, if there is one, the ground truth."""

    name: str  # of the image
    files: tuple[Path, ...]  # in the order of PARTS


def shown_indices(images: int) -> list[int]:
    """Return the indices of the images of a test set that are shown, evenly spaced."""
    return list(dict.fromkeys(i * images // PER_SET for i in range(min(PER_SET, images))))


def write_example(folder: Path, key: str, name: str, sample: EvalSample, restored: Image) -> None:
    """Write the crop of an image of that name where input and restored image differ most.

    Raises:
        MaskDCPTError: If a file cannot be written.
    """
    images = [to_uint8(sample.lq), to_uint8(restored)]
    images += [] if sample.gt is None else [sample.gt]
    region = _region(images[0], images[1])
    for file, image in zip(_files(folder, key, name), images, strict=False):
        save_png(file, region.crop(image), folder=folder)


def find_examples(folder: Path, key: str, names: Sequence[str]) -> list[ExampleCrop]:
    """Find the crops that were written for a test set whose images have these names."""
    found: list[ExampleCrop] = []
    for index in shown_indices(len(names)):
        if is_written(folder, key, names[index]):
            files = tuple(file for file in _files(folder, key, names[index]) if file.exists())
            found.append(ExampleCrop(names[index], files))
    return found


def is_written(folder: Path, key: str, name: str) -> bool:
    """Return whether the crops of an image are there; it may have no ground truth."""
    return all(file.exists() for file in _files(folder, key, name)[:2])


def save_png(path: Path, image: Pixels, *, folder: Path) -> None:
    """Write a PNG of an output folder atomically; raises MaskDCPTError if it cannot be written."""
    check_inside(path, folder)
    with written(path) as file:
        Pillow.fromarray(image).save(file, format="PNG")


def to_uint8(image: Image) -> Pixels:
    """Convert values in [0, 1] to 8 bits, clipped and rounded."""
    return np.asarray(np.rint(image.clip(0, 1) * 255), np.uint8)


def _files(folder: Path, key: str, name: str) -> list[Path]:
    image = f"{zlib.crc32(name.encode(errors='surrogateescape')):08x}"  # of any name, also a path
    return [folder / FOLDER / f"{key}-{image}-{part.replace(' ', '-')}.png" for part in PARTS]


def _region(lq: Pixels, restored: Pixels) -> Region:
    height, width = lq.shape[:2]
    side = min(SIDE, height, width)
    found = most_different(lq, restored, side=side, count=1)
    return found[0] if found else Region((height - side) // 2, (width - side) // 2, side)
