"""Remembers how each result was made, so that a second run can tell its own from others'."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from maskdcpt_cli.inference.events import Job, Settings
from maskdcpt_cli.models import Backbone

JOURNAL = ".maskdcpt.jsonl"  # in the folder of the results, a line each; the last one counts

# Settings that leave the pixels of a result as they are.
IDLE = ("compare", "max_pixels")


def fingerprint(model: Backbone, settings: Settings) -> str:
    """Equal for equal weights and equal settings."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy())
    told = {name: value for name, value in asdict(settings).items() if name not in IDLE}
    digest.update(json.dumps(told, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def is_current(job: Job, *, made_by: str) -> bool:
    """Whether the target was made from this source, as it is now, by what `made_by` names."""
    try:
        text = (job.target.parent / JOURNAL).read_text(encoding="ascii", errors="replace")
        return _entries(text).get(job.target.name) == [made_by, *_state(job.source)]
    except OSError:
        return False


def record(job: Job, *, made_by: str) -> None:
    """Adds a line in one write, so that several processes may share a folder."""
    line = json.dumps({"name": job.target.name, "made": [made_by, *_state(job.source)]})
    journal = os.open(job.target.parent / JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(journal, line.encode("ascii") + b"\n")
    finally:
        os.close(journal)


def _state(source: Path) -> tuple[int, int]:
    status = source.stat()
    return status.st_size, status.st_mtime_ns


def _entries(text: str) -> dict[str, object]:
    entries: dict[str, object] = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            entries[entry["name"]] = entry["made"]
        except (ValueError, KeyError, TypeError):  # a line cut short by a crash
            continue
    return entries
