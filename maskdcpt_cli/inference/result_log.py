"""The log of results: the model, settings and source of each, for a run that resumes."""

import contextlib
import errno
import filecmp
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, fields
from functools import lru_cache
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from maskdcpt_cli.files import shown
from maskdcpt_cli.inference.events import Job, Outcome, Settings

if TYPE_CHECKING:
    from torch import Tensor

    from maskdcpt_cli.models.backbone import RestorationNetwork
    from maskdcpt_cli.weights.building import DegradationClassifier

Existing = Literal["skip", "overwrite", "error"]

RESULT_LOG = ".maskdcpt.jsonl"  # in the folder of the results; of a name the last line counts

# Settings that do not change the pixels of a result.
NEUTRAL = ("compare", "max_pixels")
REMOVAL = ("remove", "keep")  # change those of request-conditioned networks


class FileState(NamedTuple):
    """The size and time of a file: a source is unchanged where both are."""

    size: int
    mtime_ns: int


class ResultOrigin(NamedTuple):
    """The model and settings of a result, and the state of its source."""

    by: str  # a fingerprint
    source: FileState
    path: str | None = None  # of the source, from the folder of the result; None: not recorded
    unrestored: str | None = None  # why the result holds the pixels of the source

    def recorded(self, job: Job) -> Path:
        """Return the path of the source, which is recorded from the folder of the result."""
        folder = Path(os.path.realpath(job.target.parent))
        return Path(os.path.normpath(folder / (self.path or "")))

    def photo_of(self, job: Job) -> Path | None:
        """Return the file of the photo that the result is of; None where it is not the job's photo.

        Cameras begin their numbers again, and archives give all files one time. A source that was
        moved may be that of the job, and one with the same content is.
        """
        if self.path is None:
            return job.source
        recorded = self.recorded(job)
        try:
            if recorded.samefile(job.source):
                return job.source
            return recorded if filecmp.cmp(recorded, job.source, shallow=False) else None
        except (OSError, ValueError):
            return job.source


Made = dict[str, ResultOrigin]
Begun = dict[str, tuple[ResultOrigin, FileState | None]]  # and the file that was there before


def fingerprint(
    model: "RestorationNetwork",
    settings: Settings,
    classifier: "DegradationClassifier | None" = None,
) -> str:
    """Return a hash of the weights, options and settings, 16 hexadecimal digits.

    `classifier` decides what the network is asked for, where one does.
    """
    digest = hashlib.sha256()
    _add_weights(digest, model.weight_items())
    neutral = NEUTRAL if model.request_types else NEUTRAL + REMOVAL
    relevant = {name: value for name, value in asdict(settings).items() if name not in neutral}
    digest.update(json.dumps(relevant, sort_keys=True, default=methodcaller("item")).encode())
    if unusual := model.unusual_options():
        digest.update(repr(sorted(unusual.items())).encode())
    if model.request_types:
        digest.update(repr(model.requests).encode())
    if classifier:
        _add_weights(digest, classifier.network.state_dict().items())
        others = [getattr(classifier, one.name) for one in fields(classifier)]
        digest.update(repr([one for one in others if one is not classifier.network]).encode())
    return digest.hexdigest()[:16]


def _add_weights(digest: "hashlib._Hash", tensors: "Iterable[tuple[str, Tensor]]") -> None:
    for name, tensor in tensors:
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().data)


def begin(job: Job, source: FileState, *, made_by: str, unrestored: str | None = None) -> None:
    """Append that a result is about to be written, with the state of the file that it replaces.

    `source` is the state of the photo as it was read: of one that changes afterwards, the next run
    says so. `unrestored` is as of `record`.

    A target that has changed since is complete, for results replace their targets atomically; so
    a run that is killed before `record` is not taken for another program.
    """
    before = _state_of(job.target)
    _append(job, {"begun": [made_by, *source], "before": before, **_why(unrestored)})


def record(job: Job, source: FileState, *, made_by: str, unrestored: str | None = None) -> None:
    """Append that a result has been written, of a photo in that state.

    `unrestored` says why it holds the pixels of the photo.
    """
    _append(job, {"made": [made_by, *source], **_why(unrestored)})


def _why(unrestored: str | None) -> dict[str, object]:
    return {"unrestored": unrestored} if unrestored else {}


def _append(job: Job, facts: dict[str, object]) -> None:
    """Append a line in one write, so that several processes may share a folder."""
    entry = {"name": job.target.name, "path": _relative(job), **facts}
    line = json.dumps(entry).encode("ascii") + b"\n"
    path = job.target.parent / RESULT_LOG
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        if os.write(log, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(log)


def _relative(job: Job) -> str:
    source, folder = map(os.path.realpath, (job.source, job.target.parent))
    try:
        return os.path.relpath(source, folder)
    except ValueError:  # on another drive of Windows
        return source


def file_state(path: Path) -> FileState:
    """Return the state of a file; OSError where it has none."""
    status = path.stat()
    return FileState(status.st_size, status.st_mtime_ns)


def read_log(folder: Path) -> dict[str, ResultOrigin]:
    """Return the results of a folder by their names; nothing where it has no log."""
    try:
        entries, begun = _parsed(folder, file_state(folder / RESULT_LOG))
    except OSError:
        return {}
    made = dict(entries)
    for name, (origin, before) in begun.items():
        with contextlib.suppress(OSError, ValueError):
            if file_state(folder / name) != before:
                made[name] = origin
    return made


@lru_cache(maxsize=2)  # of the folder of a photo and of the next one; a run asks for each photo
def _parsed(folder: Path, _state: FileState) -> tuple[Made, Begun]:
    """Return the results that were written, and those of which only the beginning is known."""
    text = (folder / RESULT_LOG).read_text(encoding="ascii", errors="replace")
    entries: Made = {}
    begun: Begun = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            name = entry["name"]
            made_by, size, mtime_ns = entry.get("begun") or entry["made"]
            source = FileState(size, mtime_ns)
            path = entry.get("path") if isinstance(entry.get("path"), str) else None
            made = ResultOrigin(made_by, source, path, entry.get("unrestored"))
            if "begun" in entry:
                before = entry["before"]
                begun[name] = made, None if before is None else FileState(*before)
            else:
                entries[name] = made
                begun.pop(name, None)
        except (ValueError, KeyError, TypeError, AttributeError):  # a line cut short by a crash
            continue
    return entries, begun


def existing_result(job: Job, made_by: str, existing: Existing) -> Outcome | None:
    """Return the outcome of a job whose target exists; None where it is to be restored."""
    if existing == "overwrite" or not os.path.lexists(job.target):
        return None
    if existing == "error":
        return Outcome(
            job, "failed", f"'{shown(job.target)}' exists; --existing overwrite replaces it."
        )
    origin = read_log(job.target.parent).get(job.target.name)
    if origin is None or origin.by != made_by:
        what = "is not this model's result with these settings"
    elif (photo := origin.photo_of(job)) is None:
        what = f"is the result of '{shown(origin.recorded(job))}': choose another -o"
    elif origin.source != _state_of(photo):
        what = f"was restored before '{shown(job.source)}' changed"
    elif origin.unrestored:
        return Outcome(job, "unrestored", origin.unrestored)
    else:
        return Outcome(job, "skipped")
    reason = f"'{shown(job.target)}' exists and {what}; --existing overwrite replaces it."
    return Outcome(job, "failed", reason)


def _state_of(path: Path) -> FileState | None:
    try:
        return file_state(path)
    except OSError:
        return None
