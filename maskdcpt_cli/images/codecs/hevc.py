"""pillow-heif reports no colours that the video stream of a HEIC file alone states; this does.

They are in the VUI of the sequence parameter set (ITU-T H.265, 7.3.2.2 and E.2.1), which is in the
box hvcC (ISO/IEC 14496-15, 8.3.2.1).
"""

import re
from collections.abc import Iterator
from itertools import islice

SPS = 33  # the type of a sequence parameter set
CONFIGURATION = re.compile(rb"(?=(.{4})hvcC)", re.DOTALL)
ARRAYS_AT = 8 + 22  # of a box: the number of its arrays
PROFILE_BITS, LEVEL_BITS = 88, 8
MAX_BOXES, MAX_SETS, MAX_BYTES = 16, 16, 4096  # that are looked at: of a file, a box, a set
LARGEST_SET = 32  # pictures that a picture refers to
EXTENDED_SAR = 255


def stated_colours(head: bytes) -> tuple[int, int] | None:
    """Return primaries and transfer function (ITU-T H.273) of the streams of a HEIC file.

    Takes the first bytes of the file. None where no stream states them, or two differ.
    """
    stated = set()
    for found in islice(CONFIGURATION.finditer(head), MAX_BOXES):
        box = head[found.start() : found.start() + int.from_bytes(found[1], "big")]
        for sps in islice(_parameter_sets(box), MAX_SETS):
            try:
                stated.add(_colours(_Bits(sps)))
            except ValueError:
                stated.add(None)
    stated.discard(None)
    return stated.pop() if len(stated) == 1 else None


def _parameter_sets(box: bytes) -> Iterator[bytes]:
    """Yield the sequence parameter sets in a box hvcC, without the bytes that guard start codes."""
    at = ARRAYS_AT + 1
    for _ in range(int.from_bytes(box[ARRAYS_AT:at], "big")):
        kind, count = box[at : at + 1], int.from_bytes(box[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            length = int.from_bytes(box[at : at + 2], "big")
            at += 2 + length
            if at > len(box):
                return
            if kind[0] & 0x3F == SPS:
                yield box[at - length + 2 : at][:MAX_BYTES].replace(b"\0\0\3", b"\0\0")


class _Bits:
    """Bits of a parameter set, the first one first; ValueError behind the last."""

    def __init__(self, data: bytes) -> None:
        self.value = int.from_bytes(data, "big")
        self.left = 8 * len(data)

    def read(self, count: int) -> int:
        self.left -= count
        if self.left < 0:
            raise ValueError("the end of the parameter set")
        return (self.value >> self.left) & ((1 << count) - 1)

    def flag(self) -> bool:
        return self.read(1) == 1

    def number(self) -> int:
        """Return an Exp-Golomb number: as many zeros as bits follow a one."""
        zeros = 0
        while not self.flag():
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def skip_numbers(self, count: int) -> None:
        for _ in range(count):
            self.number()


def _colours(bits: _Bits) -> tuple[int, int] | None:
    """Return primaries and transfer function of a sequence parameter set; None without them."""
    bits.read(4)
    layers = bits.read(3)
    bits.read(1)
    _skip_profile(bits, layers)
    bits.number()
    if bits.number() == 3:  # 4:4:4
        bits.flag()
    bits.skip_numbers(2)  # width, height
    if bits.flag():  # the window that is seen
        bits.skip_numbers(4)
    bits.skip_numbers(2)  # bits of luma and chroma
    order_bits = bits.number() + 4
    of_each_layer = bits.flag()
    bits.skip_numbers(3 * (layers + 1 if of_each_layer else 1))
    bits.skip_numbers(6)  # sizes of blocks
    if bits.flag() and bits.flag():
        _skip_scaling_lists(bits)
    bits.read(2)
    if bits.flag():  # blocks that are not compressed
        bits.read(8)
        bits.skip_numbers(2)
        bits.flag()
    _skip_references(bits, order_bits)
    bits.read(2)
    return _video_signal(bits) if bits.flag() else None


def _video_signal(bits: _Bits) -> tuple[int, int] | None:
    """Return the colours that the VUI begins with."""
    if bits.flag() and bits.read(8) == EXTENDED_SAR:
        bits.read(32)
    if bits.flag():  # overscan
        bits.flag()
    if not bits.flag():
        return None
    bits.read(4)
    return (bits.read(8), bits.read(8)) if bits.flag() else None


def _skip_profile(bits: _Bits, layers: int) -> None:
    bits.read(PROFILE_BITS + LEVEL_BITS)
    present = [(bits.flag(), bits.flag()) for _ in range(layers)]
    if layers:
        bits.read(2 * (8 - layers))
    for profile, level in present:
        bits.read(profile * PROFILE_BITS + level * LEVEL_BITS)


def _skip_scaling_lists(bits: _Bits) -> None:
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if not bits.flag():
                bits.number()
            else:
                bits.skip_numbers((size > 1) + min(64, 16 << 2 * size))


def _skip_references(bits: _Bits, order_bits: int) -> None:
    """Skip the pictures that pictures refer to; ValueError for sets that derive from others.

    Still images refer to none.
    """
    for index in range(bits.number()):
        if index and bits.flag():
            raise ValueError("a set of references that derives from another")
        count = bits.number() + bits.number()
        if count > LARGEST_SET:
            raise ValueError("too many references")
        for _ in range(count):
            bits.number()
            bits.flag()
    if bits.flag():
        for _ in range(bits.number()):
            bits.read(order_bits + 1)
