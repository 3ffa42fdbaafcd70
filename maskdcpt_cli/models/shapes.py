"""Options of a network from the names and shapes of its tensors."""

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction

Shapes = Mapping[str, tuple[int, ...]]  # of the tensors of a state dict, by name


def size_of(shapes: Shapes, name: str, dim: int) -> int:
    """Return the size of a tensor in one dimension; ValueError where it has none."""
    if name not in shapes:
        raise ValueError(f"is incomplete: it lacks '{name}'")
    if dim >= len(shapes[name]):
        raise ValueError(f"has a '{name}' of the wrong shape {shapes[name]}")
    return shapes[name][dim]


def count_children(shapes: Shapes, prefix: str) -> int:
    """Return the number of submodules below a prefix that ends in a dot."""
    return len({name[len(prefix) :].split(".")[0] for name in shapes if name.startswith(prefix)})


def expansion_of(sizes: Iterable[tuple[int, int]]) -> float:
    """Return the shortest decimal f with int(channels * f) == hidden for all (channels, hidden)."""
    pairs = set(sizes)
    ratios = [Fraction(hidden, channels) for channels, hidden in pairs if channels]
    lowest = max(ratios, default=Fraction(0))
    for digits in range(10):
        for step in (0, 1):  # in floating point the lowest itself can fall short: 0.57 * 100 < 57
            factor: float = (math.ceil(lowest * 10**digits) + step) / 10**digits
            if all(int(channels * factor) == hidden for channels, hidden in pairs):
                return factor
    raise ValueError("has feed-forward layers that no single expansion factor gives")
