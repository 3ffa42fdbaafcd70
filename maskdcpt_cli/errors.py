"""Errors, each in one sentence: the thing, its value, what is valid, what to type instead."""

import difflib
import math
from collections.abc import Iterable
from numbers import Integral, Real


class MaskDCPTError(Exception):
    """An error that the user can correct; its text is shown as it is, without a traceback."""


class CheckpointError(MaskDCPTError):
    """A file of weights is missing, damaged or unsafe, or of another network."""


class DownloadError(MaskDCPTError):
    """A published file of weights cannot be downloaded."""


class ImageError(MaskDCPTError):
    """An image cannot be read or written."""


class BackendError(MaskDCPTError):
    """A device, precision or inference backend is not available here."""


MAX_JOBS = 256  # threads or processes of a command


def check_range(
    name: str, value: object, *, least: float, most: float | None = None, whole: bool = True
) -> None:
    """Raise MaskDCPTError for a number out of its range, in the words of the command line."""
    if not isinstance(value, Integral if whole else Real) or isinstance(value, bool):
        kind = "integer" if whole else "float"
        raise MaskDCPTError(f"Invalid value for '{name}': {value!r} is not a valid {kind}.")
    if not least <= float(value) <= (math.inf if most is None else most):
        valid = f"x>={least}" if most is None else f"{least}<=x<={most}"
        raise MaskDCPTError(f"Invalid value for '{name}': {value} is not in the range {valid}.")


def check_max_pixels(value: object) -> None:
    """Raise MaskDCPTError for a limit of pixels that is neither None nor at least 1."""
    if value is not None:
        check_range("max_pixels", value, least=1)


def unknown(kind: str, name: str, choices: Iterable[str]) -> str:
    """Return the sentence for a name that is not in a table.

    >>> unknown("backbone", "nafnett", ["nafnet", "swinir"])
    "Unknown backbone 'nafnett'. Did you mean 'nafnet'? Choose from: nafnet, swinir."
    """
    ordered = sorted(choices)
    close = difflib.get_close_matches(name, ordered, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    choose = f" Choose from: {', '.join(ordered)}." if ordered else ""
    return f"Unknown {kind} '{name}'.{hint}{choose}"


def words_of(error: Exception) -> str:
    """Return what an error says; its name where it says nothing."""
    return str(error).strip() or type(error).__name__
