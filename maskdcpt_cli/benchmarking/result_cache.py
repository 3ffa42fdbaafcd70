"""Cache of results on disk, so that a benchmark can be interrupted at any time and resumed."""

import errno
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import check_inside, shown

FILE = "results.jsonl"
Values = Mapping[str, float]


BEGIN = '{"set": '  # of each line, also of one that was cut short


class ResultCache:
    """File of results, one JSON object a line; of several lines for an image the last counts.

    Args:
        folder: of the file; created if it is missing.
        made_by: fingerprint of weights and settings; stored in each line.

    Raises:
        MaskDCPTError: If the folder cannot be written or has results of another fingerprint.
    """

    def __init__(self, folder: Path, *, made_by: str) -> None:
        self.path = folder / FILE
        self.made_by = made_by
        check_inside(self.path, folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            text = self.path.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            text = ""
        except OSError as error:
            raise MaskDCPTError(f"Cannot write to '{shown(folder)}': {error.strerror}.") from error
        self._entries: dict[tuple[str, str], tuple[object, Values]] = {}
        self._truncated = bool(text) and not text.endswith("\n")  # by a crash
        for line in text.splitlines():
            self._read(line, folder)
        if text.strip() and not self._entries and not text.lstrip().startswith(BEGIN):
            raise MaskDCPTError(
                f"'{shown(self.path)}' is not a file of results: choose another folder with -o."
            )

    def find(
        self, of: str, name: str, state: Sequence[object], metrics: Sequence[str]
    ) -> Values | None:
        """Return the cached values of an image, or None.

        It is None if the state of the image has changed or one of the metrics is missing.
        """
        found, values = self._entries.get((of, name), (None, {}))
        if found != list(state) or not set(metrics) <= set(values):
            return None
        return {metric: values[metric] for metric in metrics}

    def add(self, of: str, name: str, state: Sequence[object], values: Values) -> None:
        """Append a result in one write; raises MaskDCPTError if it cannot be written."""
        self._entries[of, name] = list(state), values
        entry = {"set": of, "name": name, **values, "state": list(state), "made_by": self.made_by}
        line = (("\n" if self._truncated else "") + json.dumps(entry) + "\n").encode("ascii")
        self._truncated = False
        try:
            with self.path.open("ab", buffering=0) as file:
                if file.write(line) < len(line):
                    self._truncated = True
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise MaskDCPTError(f"Cannot write '{shown(self.path)}': {error.strerror}.") from error

    def _read(self, line: str, folder: Path) -> None:
        try:
            entry = json.loads(line)
            key = entry.pop("set"), entry.pop("name")
            state, made_by = entry.pop("state"), entry.pop("made_by")
            values = {metric: float(value) for metric, value in entry.items()}
        except (ValueError, KeyError, TypeError, AttributeError):  # truncated by a crash
            return
        if made_by != self.made_by:
            raise MaskDCPTError(
                f"'{shown(folder)}' holds results of other weights, settings or plugins; give "
                "another folder with -o, or remove it."
            )
        self._entries[key] = state, values
