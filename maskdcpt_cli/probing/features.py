"""Features of many images, and their distances in bounded memory.

NAFNet's latent of a 128x128 image has a million numbers, and 500 images 2 GB (SwinIR 5.9 GB).
Neighbours and t-SNE need distances only. So the features are written to a file, and the Gram
matrix is summed over blocks of columns.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedRandom
from tempfile import TemporaryFile, gettempdir

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.models.backbone import PADDINGS
from maskdcpt_cli.models.masking import PatchMask
from maskdcpt_cli.probing.images import ProbeImage

BLOCK = 2**25  # bytes of vectors in memory at once
BATCH = 4  # images

Distances = NDArray[np.float64]  # (images, images)


class FeatureStore:
    """Temporary file of float32 vectors."""

    def __init__(self, file: BufferedRandom) -> None:
        self._file = file
        self.count = self.length = 0

    def append(self, vectors: NDArray[np.float32]) -> None:
        """Append vectors (B, length); raises ValueError if the length differs from earlier ones.

        Raises:
            MaskDCPTError: If the disk is full.
        """
        if self.count and vectors.shape[1] != self.length:
            raise ValueError(f"Vectors have {vectors.shape[1]} values, earlier ones {self.length}.")
        try:
            self._file.write(np.ascontiguousarray(vectors).data)
        except OSError as error:
            raise MaskDCPTError(
                f"The features could not be written to {gettempdir()} ({error.strerror}): make "
                "room, set TMPDIR to a folder on a larger disk, or ask for fewer --images."
            ) from error
        self.count, self.length = self.count + len(vectors), vectors.shape[1]

    def distances(self, *, block: int = BLOCK) -> Distances:
        """Return the Euclidean distances between all vectors, (images, images).

        All sums are in double precision, in which products of float32 are exact. `block` is the
        memory for the vectors, in bytes.
        """
        products = np.zeros((self.count, self.count))
        for part in self._columns(width=max(1, block // (8 * max(self.count, 1)))):
            products += part @ part.T
        squares = products.diagonal()
        squared = squares[:, None] + squares - 2 * products
        np.fill_diagonal(squared, 0)
        distances: Distances = np.sqrt(np.maximum(squared, 0))
        return distances

    def _columns(self, *, width: int) -> Iterator[NDArray[np.float64]]:
        """Yield blocks of columns of the matrix of all vectors."""
        for start in range(0, self.length, width):
            part = np.empty((self.count, min(width, self.length - start)), np.float32)
            for number, row in enumerate(part):
                self._file.seek(4 * (number * self.length + start))
                self._file.readinto(row.data)
            yield part.astype(np.float64)


@contextmanager
def features_on_disk() -> Generator[FeatureStore, None, None]:
    """Open a FeatureStore in the folder for temporary files (TMPDIR)."""
    with TemporaryFile(prefix="maskdcpt-") as file:
        yield FeatureStore(file)


def encode(
    network: Backbone,
    images: Sequence[ProbeImage],
    store: FeatureStore,
    *,
    device: str,
    mask: PatchMask | None = None,
) -> Generator[ProbeImage, None, None]:
    """Append the input of the restoration head for each image to `store`, and yield the image.

    With a mask of all images, only the features at visible positions are stored, in their order.
    Each image has equally many, so all vectors have one length.
    """
    network = network.eval().to(device)
    for start in range(0, len(images), BATCH):
        some = images[start : start + BATCH]
        lq = torch.from_numpy(np.stack([image.pixels for image in some]))
        lq = lq.to(device).permute(0, 3, 1, 2).float() / 255
        latent = _latent(network, lq, _rows(mask, start, len(some), device))
        store.append(latent.flatten(1).cpu().numpy())
        yield from some


@torch.inference_mode()
def _latent(network: Backbone, lq: Tensor, mask: PatchMask | None) -> Tensor:
    """(B, 3, H, W) -> (B, C, h, w), or (B, C, 1, visible)."""
    if mask is None:
        return network.encode(PADDINGS[network.padding](lq, network.size_multiple)).latent
    return network.encode(mask.pack(lq), mask).latent


def _rows(mask: PatchMask | None, start: int, count: int, device: str) -> PatchMask | None:
    """Return the rows of a mask for these images."""
    if mask is None:
        return None
    visible = mask.visible[start : start + count].to(device)
    return PatchMask(visible, size=mask.size, patch_size=mask.patch_size)
