"""Pictures known again: fingerprints that survive scaling and JPEG, and a search among many."""

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.images.arrays import Pixels

Fingerprints = NDArray[np.uint64]

SIDE = 32  # of the picture that a fingerprint is taken of
FLAT = 4.0  # standard deviation of grey, of 255, below which there is nothing to know again
BANDS, BITS = 4, 16
TOGETHER = 4096  # fingerprints that are looked up together; bounds the memory
NEAR = 2 * BANDS - 1  # bits: then one of the bands differs in one bit at most
ALIKE = (
    0.95  # correlation of the same picture; scaled to a third and JPEG of quality 30, above 0.96
)
ONES = np.array([value.bit_count() for value in range(256)], np.uint8)


def fingerprint(picture: Pixels) -> int | None:
    """64 bits of a picture, None where it is flat.

    Each bit says whether one of the 8x8 lowest frequencies of the cosine transform is above their
    median (pHash; Zauner 2010).
    """
    small = thumbnail(picture)
    if small.std() < FLAT:
        return None
    lowest = cv2.dct(small)[:8, :8].ravel()
    bits = lowest > np.median(lowest[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def thumbnail(picture: Pixels) -> NDArray[np.float32]:
    """(SIDE, SIDE), grey, 0 to 255."""
    small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)


def alike(one: Pixels, other: Pixels) -> bool:
    """Whether two pictures whose fingerprints are near are the same, but for size and quality."""
    both = (thumbnail(one).ravel(), thumbnail(other).ravel())
    return bool(np.corrcoef(*both)[0, 1] > ALIKE)


def near(known: Fingerprints, asked: Fingerprints) -> NDArray[np.intp]:
    """All pairs, as rows (place in `known`, place in `asked`), that differ in NEAR bits at most.

    Looked up band by band, with each of a band's bits flipped: of the product of the two numbers
    only a small share is compared.
    """
    pairs = [np.empty((0, 2), np.intp)]
    for start in range(0, len(asked), TOGETHER):
        some = asked[start : start + TOGETHER]
        offset = np.array((0, start), np.intp)
        pairs += [_near(known, some, band) + offset for band in range(BANDS)]
    return np.unique(np.concatenate(pairs), axis=0)


def _near(known: Fingerprints, asked: Fingerprints, band: int) -> NDArray[np.intp]:
    """Those pairs that differ in one bit of a band at most."""
    shift = np.uint64(band * BITS)
    keys, wanted = ((prints >> shift).astype(np.uint16) for prints in (known, asked))
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    pairs: list[NDArray[np.intp]] = []
    for flip in (0, *(1 << bit for bit in range(BITS))):
        found = _equal(ordered, wanted ^ np.uint16(flip))
        found[:, 0] = order[found[:, 0]]
        pairs.append(found[_ones(known[found[:, 0]] ^ asked[found[:, 1]]) <= NEAR])
    return np.concatenate(pairs)


def _equal(ordered: NDArray[np.uint16], wanted: NDArray[np.uint16]) -> NDArray[np.intp]:
    """All pairs, as rows (place in `ordered`, place in `wanted`), that are equal."""
    first = np.searchsorted(ordered, wanted, side="left")
    counts = np.searchsorted(ordered, wanted, side="right") - first
    before = np.cumsum(counts) - counts
    within = np.arange(counts.sum()) - np.repeat(before, counts)
    return np.stack(
        [np.repeat(first, counts) + within, np.repeat(np.arange(len(wanted)), counts)], axis=1
    )


def _ones(values: Fingerprints) -> NDArray[np.intp]:
    """How many bits are set; numpy.bitwise_count is of NumPy 2."""
    counts: NDArray[np.intp] = ONES[values.view(np.uint8).reshape(-1, 8)].sum(axis=1, dtype=np.intp)
    return counts
