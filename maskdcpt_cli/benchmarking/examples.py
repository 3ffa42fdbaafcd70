"""Parts of pictures that show what a restoration changed."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from maskdcpt_cli.benchmarking.test_sets import Case
from maskdcpt_cli.files import written
from maskdcpt_cli.images.contact_sheets import Window, most_different
from maskdcpt_cli.synthesis.contract import Image

FOLDER = "examples"
SIDE = 192  # of a part, in pixels
EACH = 2  # pictures of a test set
KINDS = ("input", "restored", "ground truth")

Pixels = NDArray[np.uint8]  # (H, W, 3), sRGB


class Example(NamedTuple):
    """The same part of a picture as it was, as it became and, where known, as it should be."""

    name: str  # of the picture
    files: tuple[Path, ...]  # in the order of KINDS


def places(pictures: int) -> list[int]:
    """The pictures of a test set that are shown, spread evenly."""
    return list(dict.fromkeys(number * pictures // EACH for number in range(min(EACH, pictures))))


def keep(folder: Path, key: str, place: int, case: Case, restored: Image) -> None:
    """Write the part of a picture where the input and what was made of it differ most."""
    whole = [rounded(case.lq), rounded(restored), *([] if case.gt is None else [case.gt])]
    window = _window(whole[0], whole[1])
    for file, picture in zip(_files(folder, key, place), whole, strict=False):
        save(file, window.cut(picture))


def find(folder: Path, key: str, names: Sequence[str]) -> list[Example]:
    """The examples of a test set that were kept, its pictures having these names."""
    found: list[Example] = []
    for place in places(len(names)):
        files = tuple(file for file in _files(folder, key, place) if file.exists())
        if len(files) >= 2:
            found.append(Example(names[place], files))
    return found


def save(path: Path, picture: Pixels) -> None:
    """Write a PNG, whole or not at all; MaskDCPTError where it cannot be."""
    with written(path) as file:
        Pillow.fromarray(picture).save(file, format="PNG")


def rounded(image: Image) -> Pixels:
    """Values in [0, 1] in 8 bits."""
    return np.asarray(np.rint(image.clip(0, 1) * 255), np.uint8)


def _files(folder: Path, key: str, place: int) -> list[Path]:
    return [folder / FOLDER / f"{key}-{place}-{kind.replace(' ', '-')}.png" for kind in KINDS]


def _window(lq: Pixels, restored: Pixels) -> Window:
    height, width = lq.shape[:2]
    side = min(SIDE, height, width)
    found = most_different(lq, restored, side=side, count=1)
    return found[0] if found else Window((height - side) // 2, (width - side) // 2, side)
