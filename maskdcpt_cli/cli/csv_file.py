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
    with written(path) as file:
        for row in rows:
            file.write(_line(row).encode(errors="surrogateescape"))


def _line(row: Sequence[object]) -> str:
    """Return a line of CSV; the writer quotes the line breaks that are in its own terminator."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(map(_cell, row))
    return text.getvalue().removesuffix("\r\n") + "\n"


def _cell(value: object) -> object:
    text = str(value) if isinstance(value, (str, Path)) else ""
    return f"'{text}" if text.startswith(FORMULA) and not _is_number(text) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
