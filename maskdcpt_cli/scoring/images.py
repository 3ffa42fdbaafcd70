"""Images for the metrics: 8-bit RGB, with notices on conversions."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.images.photo import Photo
from maskdcpt_cli.images.reader import PhotoReader
from maskdcpt_cli.images.reading import read_photo, to_srgb8, upright
from maskdcpt_cli.scoring.events import ImageSource

CHANNEL_NAMES = {1: "grey", 3: "RGB", 4: "CMYK"}
CACHED = 4  # images: a ground truth of many restored images is read once


class ScoringImage(NamedTuple):
    """Image to measure."""

    pixels: NDArray[np.uint8]  # (H, W, 3), as stored
    notices: tuple[str, ...] = ()
    orientation: int = 1  # of EXIF, not applied
    profile: bytes | None = None  # of a colour space other than sRGB, not applied


def read_image(
    image: ImageSource,
    *,
    max_pixels: int | None = MAX_PIXELS,
    reader: PhotoReader | None = None,
) -> ScoringImage:
    """Read an image by `reader`, or without one in this process.

    Raises ImageError, which names the file, if it cannot be read.
    """
    if not isinstance(image, Path):
        return _converted(image)
    return _read(image, _state(image), max_pixels, reader)


def read_pair(
    restored: ImageSource,
    gt: ImageSource,
    *,
    max_pixels: int | None = MAX_PIXELS,
    reader: PhotoReader | None = None,
) -> tuple[ScoringImage, ScoringImage]:
    """Read a restored image and its ground truth, with equal orientation.

    Notices of both are in the first one. Raises ImageError if the sizes differ.
    """
    one, other = (
        read_image(image, max_pixels=max_pixels, reader=reader) for image in (restored, gt)
    )
    notices = tuple(f"The restored image: {notice}" for notice in one.notices)
    notices += tuple(f"The ground truth: {notice}" for notice in other.notices)
    if one.orientation != other.orientation:
        one, other = _turned(one), _turned(other)
        notices += ("Their EXIF orientations differ, and were applied.",)
    if one.profile != other.profile:
        notices += ("Their colour profiles differ, and were not applied.",)
    if one.pixels.shape != other.pixels.shape:
        raise ImageError(
            f"The restored image is {_size(one)} pixels, but its ground truth {_size(other)}: "
            "only images of equal size can be compared."
        )
    return one._replace(notices=notices), other


def _state(path: Path) -> tuple[int, ...]:
    """Return what changes with the content of a file; () where there is none."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=CACHED)
def _read(
    path: Path, _state: tuple[int, ...], max_pixels: int | None, reader: PhotoReader | None
) -> ScoringImage:
    read = reader.read if reader else read_photo
    photo = read(path, max_pixels=max_pixels)
    page = photo.pages[0]
    channels = page.pixels.shape[2]
    plain = photo.colour.is_plain(channels)
    notice = "; ".join(_conversions(photo))
    return ScoringImage(
        _bytes(page.pixels),
        (f"{notice}.",) if notice else (),
        photo.metadata.orientation,
        None if plain else photo.metadata.icc,
    )


def _conversions(photo: Photo) -> Sequence[str]:
    page = photo.pages[0]
    notices = []
    if len(photo.pages) > 1:
        notices.append(f"the first of {len(photo.pages)} pages is measured")
    if page.pixels.dtype != np.uint8:
        bits = page.pixels.dtype.itemsize * 8
        depth = "floating point" if page.pixels.dtype.kind == "f" else "bits per channel"
        notices.append(f"{bits} {depth}, rounded to 8 bits")
    notices += _clipped(page.pixels)
    if page.pixels.shape[2] != 3:
        notices.append(f"{CHANNEL_NAMES[page.pixels.shape[2]]}, converted to RGB")
    if page.alpha is not None and not _opaque(page.alpha):
        notices.append("transparency ignored, colours as stored")
    return notices


def _clipped(pixels: NDArray[Any]) -> Iterator[str]:
    if pixels.dtype.kind != "f":
        return
    numbers = pixels[~np.isnan(pixels)]
    if numbers.size < pixels.size:
        yield "values that are no number, taken for 0"
    if numbers.size and not (numbers.min() >= 0 and numbers.max() <= 1):
        low, high = float(numbers.min()), float(numbers.max())
        yield f"values from {low:g} to {high:g}, clipped to [0, 1]"


def _converted(pixels: object) -> ScoringImage:
    if not isinstance(pixels, np.ndarray):
        raise ImageError(f"A {type(pixels).__name__} is not an image: give a Path or an array.")
    if pixels.dtype.kind != "f" and pixels.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise ImageError(
            f"An array of {pixels.dtype} is not an image: valid are uint8, uint16, and floats in "
            "[0, 1]."
        )
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.size:
        raise ImageError(
            f"An array of shape {pixels.shape} is not an image of shape (H, W, 3) or (H, W)."
        )
    notice = "; ".join(_clipped(pixels))
    return ScoringImage(_bytes(pixels), (f"{notice}.",) if notice else ())


def _bytes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert any pixels to (H, W, 3), 8 bits, in the same encoding."""
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return pixels
    if pixels.dtype == np.uint8 and pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    return to_srgb8(pixels, Colour())


def _opaque(alpha: NDArray[Any]) -> bool:
    peak = 1 if alpha.dtype.kind == "f" else np.iinfo(alpha.dtype).max
    return bool((alpha == peak).all())


def _turned(image: ScoringImage) -> ScoringImage:
    return image._replace(pixels=upright(image.pixels, image.orientation), orientation=1)


def _size(image: ScoringImage) -> str:
    return f"{image.pixels.shape[1]}x{image.pixels.shape[0]}"
