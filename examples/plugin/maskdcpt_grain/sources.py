"""A source of images: the pairs that a table lists."""

import csv
from pathlib import Path

from maskdcpt_cli.data.pairs import FilePairs, Names
from maskdcpt_cli.errors import MaskDCPTError


def csv_pairs(root: Path, degradation: str | None, *, table: str) -> FilePairs:
    """Return the pairs of a CSV file below `root` with the columns `degraded` and `clean`."""
    with (root / table).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not all(row.get("degraded") and row.get("clean") for row in rows):
        raise MaskDCPTError(f"{table}: a row has no 'degraded' or no 'clean'.")
    gt, lq = (Names(row[column] for row in rows) for column in ("clean", "degraded"))
    return FilePairs(root, gt, lq, degradation or "")
