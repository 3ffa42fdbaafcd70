"""Perceptual hashes that survive scaling and JPEG, and a search among many."""

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.images.arrays import Pixels

Fingerprints = NDArray[np.uint64]

SIDE = 32  # of the image that a fingerprint is taken of
MIN_STD = 4.0  # standard deviation of grey, of 255, below which there is nothing to know again
BANDS, BITS = 4, 16
CHUNK = 4096  # fingerprints that are looked up together; bounds the memory
MAX_DISTANCE = 2 * BANDS - 1  # bits: then one of the bands differs in one bit at most
MIN_CORRELATION = (
    0.95  # correlation of the same image; scaled to a third and JPEG of quality 30, above 0.96
)
ONES = np.array([value.bit_count() for value in range(256)], np.uint8)


def fingerprint(image: Pixels) -> int | None:
    """Return the 64-bit hash of an image; None for a flat one.

    Each bit says whether one of the 8x8 lowest frequencies of the cosine transform is above their
    median (pHash; Zauner 2010).
    """
    small = thumbnail(image)
    if small.std() < MIN_STD:
        return None
    lowest = cv2.dct(small)[:8, :8].ravel()
    bits = lowest > np.median(lowest[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def thumbnail(image: Pixels) -> NDArray[np.float32]:
    """Return a grey thumbnail, (SIDE, SIDE), 0 to 255."""
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)


def alike(one: Pixels, other: Pixels) -> bool:
    """Return whether images of near fingerprints are the same, except for size and quality."""
    both = (thumbnail(one).ravel(), thumbnail(other).ravel())
    return bool(np.corrcoef(*both)[0, 1] > MIN_CORRELATION)


def near(known: Fingerprints, queries: Fingerprints) -> NDArray[np.intp]:
    """Return all pairs that differ in MAX_DISTANCE bits at most.

    A row is (index in `known`, index in `queries`). They are looked up band by band, with each bit
    of a band flipped: only a small fraction of all combinations is compared.
    """
    pairs = [np.empty((0, 2), np.intp)]
    for start in range(0, len(queries), CHUNK):
        some = queries[start : start + CHUNK]
        offset = np.array((0, start), np.intp)
        pairs += [_near(known, some, band) + offset for band in range(BANDS)]
    return np.unique(np.concatenate(pairs), axis=0)


def _near(known: Fingerprints, queries: Fingerprints, band: int) -> NDArray[np.intp]:
    """Return those pairs that differ in one bit of a band at most."""
    shift = np.uint64(band * BITS)
    keys, wanted_keys = ((prints >> shift).astype(np.uint16) for prints in (known, queries))
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    pairs: list[NDArray[np.intp]] = []
    for flip in (0, *(1 << bit for bit in range(BITS))):
        found = _equal(ordered, wanted_keys ^ np.uint16(flip))
        found[:, 0] = order[found[:, 0]]
        pairs.append(found[_ones(known[found[:, 0]] ^ queries[found[:, 1]]) <= MAX_DISTANCE])
    return np.concatenate(pairs)


def _equal(ordered: NDArray[np.uint16], wanted_keys: NDArray[np.uint16]) -> NDArray[np.intp]:
    """Return all pairs (index in `ordered`, index in `wanted_keys`) that are equal."""
    first = np.searchsorted(ordered, wanted_keys, side="left")
    counts = np.searchsorted(ordered, wanted_keys, side="right") - first
    before = np.cumsum(counts) - counts
    within = np.arange(counts.sum()) - np.repeat(before, counts)
    return np.stack(
        [np.repeat(first, counts) + within, np.repeat(np.arange(len(wanted_keys)), counts)], axis=1
    )


def _ones(values: Fingerprints) -> NDArray[np.intp]:
    """Count the bits that are set; numpy.bitwise_count needs NumPy 2."""
    counts: NDArray[np.intp] = ONES[values.view(np.uint8).reshape(-1, 8)].sum(axis=1, dtype=np.intp)
    return counts
