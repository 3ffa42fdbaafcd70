"""The log of results: the model, settings and source of each, for a run that resumes."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from maskdcpt_cli.inference.events import Job, Settings

if TYPE_CHECKING:
    from maskdcpt_cli.models import Backbone

RESULT_LOG = ".maskdcpt.jsonl"  # in the folder of the results; of a name the last line counts

# Settings that do not change the pixels of a result.
NEUTRAL = ("compare", "max_pixels")


class FileState(NamedTuple):
    """The size and time of a file: a source is unchanged where both are."""

    size: int
    mtime_ns: int


class ResultOrigin(NamedTuple):
    """The model and settings of a result, and the state of its source."""

    by: str  # a fingerprint
    source: FileState


def fingerprint(model: "Backbone", settings: Settings) -> str:
    """Return a hash of the weights and settings, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy())
    relevant = {name: value for name, value in asdict(settings).items() if name not in NEUTRAL}
    digest.update(json.dumps(relevant, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def is_current(job: Job, *, made_by: str) -> bool:
    """Return whether the target is the result of `made_by` (a fingerprint) for this source file."""
    try:
        origin = ResultOrigin(made_by, file_state(job.source))
    except OSError:
        return False
    return read_log(job.target.parent).get(job.target.name) == origin


def record(job: Job, *, made_by: str) -> None:
    """Append a line in one write, so that several processes may share a folder."""
    line = json.dumps({"name": job.target.name, "made": [made_by, *file_state(job.source)]})
    log = os.open(job.target.parent / RESULT_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(log, line.encode("ascii") + b"\n")
    finally:
        os.close(log)


def file_state(path: Path) -> FileState:
    """Return the state of a file; OSError where it has none."""
    status = path.stat()
    return FileState(status.st_size, status.st_mtime_ns)


def read_log(folder: Path) -> dict[str, ResultOrigin]:
    """Return the results of a folder by their names; nothing where it has no log."""
    try:
        text = (folder / RESULT_LOG).read_text(encoding="ascii", errors="replace")
    except OSError:
        return {}
    entries: dict[str, ResultOrigin] = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            made_by, size, mtime_ns = entry["made"]
            entries[entry["name"]] = ResultOrigin(made_by, FileState(size, mtime_ns))
        except (ValueError, KeyError, TypeError):  # a line cut short by a crash
            continue
    return entries
