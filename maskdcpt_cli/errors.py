"""What can go wrong, said in one sentence: the thing, the value, what is valid, what to type."""

import difflib
from collections.abc import Iterable


class MaskDCPTError(Exception):
    """Something the user can mend; its text is shown as it stands, without a traceback."""


class CheckpointError(MaskDCPTError):
    """A file of weights is missing, damaged, unsafe, or belongs to another network."""


class DownloadError(MaskDCPTError):
    """A published file of weights could not be fetched."""


class ImageError(MaskDCPTError):
    """An image cannot be read or written."""


class BackendError(MaskDCPTError):
    """A device, precision or inference backend is not available here."""


def unknown(kind: str, name: str, choices: Iterable[str]) -> str:
    """The sentence for a name that is not in a table.

    >>> unknown("backbone", "nafnett", ["nafnet", "swinir"])
    "Unknown backbone 'nafnett'. Did you mean 'nafnet'? Choose from: nafnet, swinir."
    """
    ordered = sorted(choices)
    close = difflib.get_close_matches(name, ordered, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"Unknown {kind} '{name}'.{hint} Choose from: {', '.join(ordered)}."
