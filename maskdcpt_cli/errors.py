"""Errors, each in one sentence: the thing, its value, what is valid, what to type instead."""

import difflib
from collections.abc import Iterable


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


def unknown(kind: str, name: str, choices: Iterable[str]) -> str:
    """Return the sentence for a name that is not in a table.

    >>> unknown("backbone", "nafnett", ["nafnet", "swinir"])
    "Unknown backbone 'nafnett'. Did you mean 'nafnet'? Choose from: nafnet, swinir."
    """
    ordered = sorted(choices)
    close = difflib.get_close_matches(name, ordered, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"Unknown {kind} '{name}'.{hint} Choose from: {', '.join(ordered)}."
