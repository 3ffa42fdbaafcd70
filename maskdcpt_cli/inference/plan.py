"""The plan of a run: the photos to restore and their targets, from file names alone."""

import string
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskdcpt_cli.errors import ImageError, MaskDCPTError, unknown
from maskdcpt_cli.files import check_inside, is_printable, shown
from maskdcpt_cli.images.contact_sheets import sheet_of
from maskdcpt_cli.images.discover import (
    FileIdentity,
    InputFile,
    discover,
    identity,
    ignores_case,
    is_folder,
    real,
    why_unreadable,
)
from maskdcpt_cli.images.formats import IMAGE_SUFFIXES, WRITABLE, format_of, result_suffix
from maskdcpt_cli.images.photo import Header
from maskdcpt_cli.images.reader import PhotoReader, reading_by
from maskdcpt_cli.inference.events import Job, Outcome
from maskdcpt_cli.inference.result_log import RESULT_LOG, FileState, file_state, read_log

NAME = "{stem}{suffix}"
FIELDS = ("stem", "suffix", "model")


class PlanError(MaskDCPTError):
    """The inputs, the output and the names of the results contradict each other."""


@dataclass(frozen=True)
class Plan:
    """The photos to restore, in order, and counts of all other files."""

    jobs: tuple[Job, ...]
    problems: tuple[Outcome, ...]  # all failed: inputs that cannot be restored
    skipped_files: int  # files in folders that are not images
    results: int  # files left out because they are results of an earlier run


@dataclass(frozen=True)
class _Naming:
    name: str
    format: str
    model: str
    probe: Callable[[Path], Header]

    @property
    def keeps_names(self) -> bool:
        return (self.name, self.format) == (NAME, "same")

    def suffix(self, source: Path) -> str:
        own = source.suffix.lower()
        kept = result_suffix(own if own in IMAGE_SUFFIXES else self.probe(source).format)
        if self.format not in ("same", format_of(kept)):
            kept = WRITABLE[self.format].suffixes[0]
        return source.suffix if kept == own else kept

    def result(self, source: Path, *, stem: str | None = None) -> str:
        return self.name.format(
            stem=stem or source.stem, suffix=self.suffix(source), model=self.model
        )


def plan(
    inputs: Sequence[str],
    out: Path,
    *,
    model: str,
    recursive: bool = True,
    name: str = NAME,
    format: str = "same",
    reader: PhotoReader | None = None,
) -> Plan:
    """Find the photos that `inputs` name and choose the target file of each.

    An input is a file, a folder, or a glob pattern. A folder keeps its tree under `out`; several
    folders keep their own names there as well. With a single file, `out` may name the result.
    Files whose suffix tells no format are read by `reader`; None opens one.

    Raises:
        PlanError: `name` is not a template, `out` does not suit the inputs, or there is no image.
    """
    _check_name(name)
    with reading_by(reader) as files:
        return _plan(inputs, out, _Naming(name, format, model, files.probe), recursive=recursive)


def _plan(inputs: Sequence[str], out: Path, naming: _Naming, *, recursive: bool) -> Plan:
    found, missing = discover(inputs, recursive=recursive)
    nothing = f"No image found in {', '.join(map(repr, inputs)) or 'an empty list'}."
    if not found and not missing:
        raise PlanError(nothing)
    problems = [_failed(Job(one.path, one.path), one.reason) for one in missing]
    if out.suffix.lower() in IMAGE_SUFFIXES and not is_folder(out):
        return _single(found, problems, out, naming)
    if why_unreadable(out) is None:
        raise PlanError(f"'{shown(out)}' is a file: -o takes a folder for the results.")
    output = real(out)
    images = [item for item in found if item.is_image]
    outside = [item for item in images if not item.is_output(output)]
    placed, unreadable = _assign_targets(outside, out, naming)
    fresh = _without_results(placed)
    jobs, refused = _checked(_with_own_names(fresh, naming), out)
    problems += unreadable + refused
    if not jobs and not problems:
        raise PlanError(nothing)
    return Plan(
        jobs=tuple(jobs),
        problems=tuple(problems),
        skipped_files=len(found) - len(images),
        results=len(images) - len(outside) + len(placed) - len(fresh),
    )


def count_pixels(job: Job, reader: PhotoReader) -> int:
    """Return the pixels of a photo from its header alone; 0 where it cannot be read."""
    try:
        header = reader.probe(job.source)
    except ImageError:
        return 0
    return header.width * header.height * (header.pages if header.format == "tiff" else 1)


def _check_name(name: str) -> None:
    try:
        parts = [part for part in string.Formatter().parse(name) if part[1] is not None]
    except ValueError as error:
        raise PlanError(f"--name '{name}' is no template: {error}.") from None
    fields = [str(field) for _, field, *_ in parts]
    for _, field, form, conversion in parts:
        if field not in FIELDS:
            raise PlanError(unknown("field of --name", str(field), FIELDS))
        if form or conversion:
            raise PlanError(f"--name '{name}' takes {{{field}}} as it is, without ':' or '!'.")
    if fields.count("stem") != 1 or fields.count("suffix") != 1 or not name.endswith("{suffix}"):
        raise PlanError(
            f"--name '{name}' must hold {{stem}} once and end in {{suffix}}, "
            "as '{stem}_restored{suffix}' does."
        )
    if set(name) & set('/\\:*?"<>|') or not all(map(is_printable, name)):
        raise PlanError(f"--name '{name}' must be a file name; choose the folder with -o.")


def _single(found: list[InputFile], problems: list[Outcome], out: Path, naming: _Naming) -> Plan:
    if len(found) + len(problems) > 1 or any(item.root is not None for item in found):
        raise PlanError(
            f"'{shown(out)}' names one result, but there are several inputs: give a folder."
        )
    if not naming.keeps_names:
        raise PlanError(
            f"'{shown(out)}' names the result, which leaves nothing to --name and --format."
        )
    if format_of(out.suffix) is None:
        raise PlanError(f"Cannot write '{shown(out)}': choose from {', '.join(WRITABLE)}.")
    jobs, refused = _checked([Job(item.source, out) for item in found], out.parent)
    return Plan(tuple(jobs), (*problems, *refused), skipped_files=0, results=0)


def _assign_targets(
    items: list[InputFile], out: Path, naming: _Naming
) -> tuple[list[Job], list[Outcome]]:
    jobs, problems = [], []
    for item in items:
        folder = out / item.below
        try:
            jobs.append(Job(item.source, folder / naming.result(item.source)))
        except ImageError as error:
            problems.append(_failed(Job(item.source, folder / item.source.name), str(error)))
    return jobs, problems


def _without_results(jobs: list[Job]) -> list[Job]:
    """Return the jobs whose source is not a logged result of another job.

    A file in the log of its folder is the result of a job that would write it again, or from whose
    source, as it is now, it was restored: with any model and --name.
    """
    makers: dict[tuple[Path, str | FileState], set[Path]] = defaultdict(set)
    logs = {folder: read_log(folder) for folder in {real(job.target.parent) for job in jobs}}
    for job in jobs:
        folder = real(job.target.parent)
        if logs[folder] and not why_unreadable(job.source):
            makers[folder, job.target.name].add(job.source)
            makers[folder, file_state(job.source)].add(job.source)

    def is_result(source: Path) -> bool:
        folder = real(source.parent)
        logged = logs.get(folder, {}).get(source.name)
        if logged is None:
            return False
        others = makers[folder, source.name] | makers[folder, logged.source]
        return bool(others - {source})

    return [job for job in jobs if not is_result(job.source)]


def _with_own_names(jobs: list[Job], naming: _Naming) -> list[Job]:
    """Return the jobs, with conversions named a.heic.jpg where a photo that stays JPEG is a.jpg.

    Names that differ in case alone count as equal, as they do on many file systems.
    """
    kept = {_folded(job.target) for job in jobs if job.target.suffix == job.source.suffix}
    named = []
    for job in jobs:
        target = job.target
        if target.suffix != job.source.suffix and _folded(target) in kept:
            target = target.with_name(naming.result(job.source, stem=job.source.name))
        named.append(Job(job.source, target))
    return named


def _folded(path: Path) -> tuple[Path, str]:
    return path.parent, path.name.casefold()


def _checked(jobs: list[Job], out: Path) -> tuple[list[Job], list[Outcome]]:
    """Split jobs into valid ones and failures, which say why."""
    sources = {identity(job.source): job.source for job in jobs}
    makers: dict[object, Path] = {}
    ignoring_case = ignores_case(out)
    sound, problems, overwriting = [], [], []
    for job in jobs:
        target = identity(job.target)
        if (reason := why_unreadable(job.source)) or (reason := _leads_out(job.target, out)):
            problems.append(_failed(job, reason))
        elif target in sources:
            reason = f"would overwrite the input '{shown(sources[target])}'."
            overwriting.append(_failed(job, f"The result of '{shown(job.source)}' {reason}"))
        elif (
            first := makers.setdefault(_file(target, ignoring_case=ignoring_case), job.source)
        ) != job.source:
            both = f"'{shown(first)}' and '{shown(job.source)}'"
            reason = f"{both} would both be written to '{shown(job.target)}'."
            problems.append(_failed(job, reason))
        else:
            sound.append(job)
    if overwriting and not sound:
        raise PlanError(
            f"{overwriting[0].reason} Choose another folder with -o, "
            "or other names with --name '{stem}_restored{suffix}'."
        )
    return sound, problems + overwriting


def _file(target: FileIdentity, *, ignoring_case: bool) -> object:
    """Return a key of a file to write; without case it is that of the path, if there is no file."""
    return str(target).lower() if ignoring_case and isinstance(target, Path) else target


def _leads_out(target: Path, out: Path) -> str:
    """Return why a result, or a file beside it, would be outside of the output folder, or ""."""
    try:
        for path in (target, sheet_of(target), target.parent / RESULT_LOG):
            check_inside(path, out)
    except MaskDCPTError as error:
        return str(error)
    return ""


def _failed(job: Job, reason: str) -> Outcome:
    return Outcome(job, "failed", reason)
