"""Files that are nearly sound: a seed with a few of its bytes changed."""

import struct
from collections.abc import Callable

from numpy.random import Generator

Mutation = Callable[[bytearray, Generator], None]

BOUNDARIES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def flip_bits(data: bytearray, rng: Generator) -> None:
    for _ in range(int(rng.integers(1, 9))):
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)


def replace_integer(data: bytearray, rng: Generator) -> None:
    """Set an integer, of either byte order, to a boundary or to a place in the file."""
    code = rng.choice(["<H", ">H", "<I", ">I", "<Q", ">Q"])
    size = struct.calcsize(code)
    if len(data) < size:
        return
    value = int(rng.choice(BOUNDARIES)) if rng.random() < 0.7 else int(rng.integers(len(data)))
    at = int(rng.integers(len(data) - size + 1))
    struct.pack_into(code, data, at, value & ((1 << 8 * size) - 1))


def truncate(data: bytearray, rng: Generator) -> None:
    del data[rng.integers(len(data)) :]


def remove(data: bytearray, rng: Generator) -> None:
    start = int(rng.integers(len(data)))
    del data[start : start + int(rng.integers(1, 65))]


def repeat(data: bytearray, rng: Generator) -> None:
    start = int(rng.integers(len(data)))
    data[start:start] = data[start : start + int(rng.integers(1, 257))]


def move(data: bytearray, rng: Generator) -> None:
    start, to = (int(x) for x in rng.integers(len(data), size=2))
    part = data[start : start + int(rng.integers(1, 65))]
    data[to : to + len(part)] = part


MUTATIONS: tuple[Mutation, ...] = (flip_bits, replace_integer, truncate, remove, repeat, move)


def mutate(seed: bytes, rng: Generator) -> bytes:
    """Return a changed copy: one to three mutations, most of them near the beginning or the end."""
    data = bytearray(seed)
    for _ in range(int(rng.integers(1, 4))):
        if not data:
            break
        mutation = MUTATIONS[rng.integers(len(MUTATIONS))]
        if rng.random() < 0.5 and len(data) > 1024:  # headers and directories
            part = data[:512] if rng.random() < 0.7 else data[-512:]
            head = data[:512] == part
            mutation(part, rng)
            data = part + data[512:] if head else data[:-512] + part
        else:
            mutation(data, rng)
    return bytes(data)
