"""The log of results: the model, settings and source of each, for a run that resumes."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from maskdcpt_cli.inference.events import Job, Settings
from maskdcpt_cli.models import Backbone

RESULT_LOG = ".maskdcpt.jsonl"  # in the folder of the results; of a name the last line counts

# Settings that do not change the pixels of a result.
NEUTRAL = ("compare", "max_pixels")


def fingerprint(model: Backbone, settings: Settings) -> str:
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
        text = (job.target.parent / RESULT_LOG).read_text(encoding="ascii", errors="replace")
        return _entries(text).get(job.target.name) == [made_by, *_state(job.source)]
    except OSError:
        return False


def record(job: Job, *, made_by: str) -> None:
    """Append a line in one write, so that several processes may share a folder."""
    line = json.dumps({"name": job.target.name, "made": [made_by, *_state(job.source)]})
    log = os.open(job.target.parent / RESULT_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(log, line.encode("ascii") + b"\n")
    finally:
        os.close(log)


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
