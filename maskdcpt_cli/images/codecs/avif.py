"""Pillow writes AVIF as luma and chroma, which loses up to 3 of 255; OpenCV writes RGB itself."""

from typing import BinaryIO

import cv2
import numpy as np

from maskdcpt_cli.images.arrays import Native
from maskdcpt_cli.images.photo import Metadata, Page

LOSSLESS = 100  # the quality
# Of the fields of ITU-T H.273: RGB, and YCgCo with another bit, which are used without loss alone.
LOSSLESS_MATRICES = frozenset({0, 16, 17})


def is_writable() -> bool:
    """Return whether OpenCV was built with an encoder of AVIF."""
    return cv2.haveImageWriter(".avif")


def write_lossless(stream: BinaryIO, page: Page, metadata: Metadata) -> None:
    """Write one page of uint8 RGB, with or without alpha, bit for bit.

    Raises RuntimeError where the encoder fails.
    """
    layers: list[Native] = [page.pixels[..., ::-1]]
    if page.alpha is not None:
        layers.append(page.alpha[..., None])
    blocks = {
        cv2.IMAGE_METADATA_EXIF: metadata.exif,
        cv2.IMAGE_METADATA_ICCP: metadata.icc,
        cv2.IMAGE_METADATA_XMP: metadata.xmp,
    }
    given = {kind: np.frombuffer(block, np.uint8)[None] for kind, block in blocks.items() if block}
    try:
        done, data = cv2.imencodeWithMetadata(
            ".avif",
            np.concatenate(layers, axis=2),
            list(given),
            list(given.values()),
            [cv2.IMWRITE_AVIF_QUALITY, LOSSLESS],
        )
    except cv2.error as error:
        raise RuntimeError("the encoder of AVIF failed") from error
    if not done:
        raise RuntimeError("the encoder of AVIF failed")
    stream.write(data.tobytes())
