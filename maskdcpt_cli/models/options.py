"""Bounds of the options of backbones, checked before a layer is built."""

from collections.abc import Iterable, Mapping, Sequence

from maskdcpt_cli.errors import unknown

MAX_CHANNELS = 1024
MAX_BLOCKS = 1000  # of a stage
MAX_STAGES = 64
MAX_EXPANSION = 64
MAX_TYPES = 64  # of degradation in a request
ARCHITECTURES = ("plain", "instruct", "frequency", "moe")  # Table XI
PLAIN: Mapping[str, object] = {  # the defaults of options that earlier versions did not have
    "architecture": "plain",
    "request_types": 0,
    "padding": "reflect",
    "norm_eps": 1e-5,
    "norm": "with-bias",
    "bias": True,
    "attention": "plain",
}
INSTRUCT = "instruct"  # the architecture of request-conditioned networks


def whole_number(name: str, value: object, *, least: int = 1, most: int = MAX_CHANNELS) -> int:
    """Return a whole number within bounds; ValueError for any other value."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(
            f"{name} is {_short(value)}; valid are whole numbers from {least} to {most}."
        )
    return value


def whole_numbers(
    name: str, values: object, *, count: int | None = None, least: int = 1, most: int = MAX_BLOCKS
) -> tuple[int, ...]:
    """Return a tuple of whole numbers within bounds; `count` None is any number from 1."""
    counts = range(1, MAX_STAGES + 1) if count is None else (count,)
    if isinstance(values, Sequence) and not isinstance(values, str) and len(values) in counts:
        return tuple(whole_number(name, value, least=least, most=most) for value in values)
    several = "one or more" if count is None else str(count)
    raise ValueError(
        f"{name} is {_short(values)}; valid is a list of {several} whole numbers, a stage each."
    )


def expansion(name: str, value: object, *, channels: int) -> float:
    """Return the width of a hidden layer relative to its `channels`, of which it has some."""
    return number(name, value, least=1 / channels, most=MAX_EXPANSION)


def number(name: str, value: object, *, least: float, most: float) -> float:
    """Return a number within bounds; ValueError for any other value."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise ValueError(f"{name} is {_short(value)}; valid are numbers from {least:g} to {most:g}.")


def choice(name: str, value: object, among: Iterable[str]) -> str:
    """Return a value that is among those of an option; ValueError if it is not."""
    if value not in tuple(among):
        raise ValueError(unknown(name, str(value), among))
    return str(value)


def switch(name: str, value: object) -> bool:
    """Return true or false; ValueError for any other value."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {_short(value)}; valid are true and false.")
    return value


def check_heads(channels: int, heads: int) -> None:
    """Raise ValueError where channels cannot be divided among heads."""
    if channels % heads:
        raise ValueError(f"{channels} channels cannot be divided among {heads} heads of attention.")


def check_request_types(value: object, *, architecture: str) -> int:
    """Return the number of types in a request to a network, 0 where it takes none."""
    if architecture == INSTRUCT:
        return whole_number("request_types", value, most=MAX_TYPES)
    if value != 0:
        raise ValueError(
            f"request_types is {_short(value)}, but only the architecture '{INSTRUCT}' can be "
            f"asked what to remove, and this one is '{architecture}'."
        )
    return 0


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
