"""CSV files of all commands."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from maskdcpt_cli.files import written

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # the first character of what spreadsheets run


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows atomically.

    A text that a spreadsheet would run as a formula begins with an apostrophe; numbers do not.

    Raises:
        MaskDCPTError: The file cannot be written.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(_cell, row) for row in rows)
    with written(path) as file:
        file.write(text.getvalue().encode(errors="surrogateescape"))


def _cell(value: object) -> object:
    text = str(value) if isinstance(value, (str, Path)) else ""
    return f"'{text}" if text.startswith(FORMULA) and not _is_number(text) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
