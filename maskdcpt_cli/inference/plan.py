"""Which photos are restored and where their results go, decided from names before any is opened."""

import os
import re
import stat
import string
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from maskdcpt_cli.data.formats import IMAGE_SUFFIXES, WRITABLE, format_of, result_suffix
from maskdcpt_cli.data.images import probe
from maskdcpt_cli.data.sheets import SHEET_SUFFIX
from maskdcpt_cli.errors import ImageError, MaskDCPTError, unknown
from maskdcpt_cli.inference.outcomes import Job, Outcome

NAME = "{stem}{suffix}"
WILDCARD = re.compile(r"[*?[]")
FIELDS = ("stem", "suffix", "model")


class PlanError(MaskDCPTError):
    """The inputs, the output and the names of the results do not go together."""


@dataclass(frozen=True)
class Plan:
    """The photos to restore, in order, and what became of everything else that was given."""

    jobs: tuple[Job, ...]
    problems: tuple[Outcome, ...]  # all failed: what cannot be restored is known already
    strangers: int  # files found in folders that are no images
    results: int  # files left out because an earlier run wrote them


@dataclass(frozen=True)
class _Found:
    source: Path
    place: Path  # the folder it lies in, symbolic links resolved
    below: Path = Path()  # the folder of its result, relative to OUT
    root: Path | None = None  # the folder it was found under, resolved; None when named itself

    @property
    def is_image(self) -> bool:
        return self.root is None or self.source.suffix.lower() in IMAGE_SUFFIXES

    def is_output(self, out: Path) -> bool:
        """Whether it was found within the (resolved) output folder, or is a before/after sheet."""
        if self.root is None:
            return False
        within = self.place.is_relative_to(out) and not self.root.is_relative_to(out)
        return within or self.source.name.endswith(SHEET_SUFFIX)


@dataclass(frozen=True)
class _Naming:
    name: str
    format: str
    model: str

    @property
    def keeps_names(self) -> bool:
        return (self.name, self.format) == (NAME, "same")

    def suffix(self, source: Path) -> str:
        own = source.suffix.lower()
        kept = result_suffix(own if own in IMAGE_SUFFIXES else probe(source).format)
        if self.format not in ("same", format_of(kept)):
            kept = WRITABLE[self.format].suffixes[0]
        return source.suffix if kept == own else kept

    def result(self, source: Path) -> str:
        return self.name.format(stem=source.stem, suffix=self.suffix(source), model=self.model)

    def origins(self, result: str) -> Iterator[tuple[str, str]]:
        """Every stem, with the suffix, that gives this name with one model or another."""
        for length in range(1, len(result)):
            if match := _pattern(self.name, length).fullmatch(result):
                yield match["stem"], match["suffix"]


@lru_cache(maxsize=256)
def _pattern(name: str, length: int) -> re.Pattern[str]:
    """Matches the names that a template gives to stems of this length."""
    groups = {"stem": f"(?P<stem>.{{{length}}})", "suffix": r"(?P<suffix>\.[^.]+)", "model": ".+"}
    parts = string.Formatter().parse(name)
    pattern = "".join(re.escape(text) + groups.get(field or "", "") for text, field, *_ in parts)
    return re.compile(pattern, re.DOTALL)


def plan(
    inputs: Sequence[str],
    out: Path,
    *,
    model: str,
    recursive: bool = True,
    name: str = NAME,
    format: str = "same",
) -> Plan:
    """Find the photos that `inputs` name and give each the file its result goes to.

    An input is a file, a folder, or a glob pattern. A folder keeps its tree under `out`; several
    folders keep their own names there as well. With a single file, `out` may name the result.

    Raises:
        PlanError: `name` is no template, `out` does not suit the inputs, or no image was found.
    """
    _check_name(name)
    naming = _Naming(name, format, model)
    found, problems = _find(inputs, recursive=recursive)
    if out.suffix.lower() in IMAGE_SUFFIXES and not _is_folder(out):
        return _single(found, problems, out, naming)
    if _objection(out) is None:
        raise PlanError(f"'{out}' is a file: -o takes a folder for the results.")
    place = _real(out)
    images = [item for item in found if item.is_image]
    outside = [item for item in images if not item.is_output(place)]
    placed, unreadable = _place(outside, out, naming)
    fresh = placed if naming.keeps_names else _without_results(placed, naming)
    jobs, refused = _checked(fresh)
    problems += unreadable + refused
    if not jobs and not problems:
        raise PlanError(f"No image found in {', '.join(repr(text) for text in inputs)}.")
    return Plan(
        jobs=tuple(jobs),
        problems=tuple(problems),
        strangers=len(found) - len(images),
        results=len(images) - len(outside) + len(placed) - len(fresh),
    )


def count_pixels(job: Job) -> int:
    """The pixels of a photo by its header alone; 0 for what cannot be read."""
    try:
        header = probe(job.source)
    except ImageError:
        return 0
    return header.width * header.height * (header.pages if header.format == "tiff" else 1)


def _check_name(name: str) -> None:
    try:
        fields = [field for _, field, *_ in string.Formatter().parse(name) if field is not None]
    except ValueError as error:
        raise PlanError(f"--name '{name}' is no template: {error}.") from None
    for field in fields:
        if field not in FIELDS:
            raise PlanError(unknown("field of --name", field, FIELDS))
    if fields.count("stem") != 1 or fields.count("suffix") != 1 or not name.endswith("{suffix}"):
        raise PlanError(
            f"--name '{name}' must hold {{stem}} once and end in {{suffix}}, "
            "as '{stem}_restored{suffix}' does."
        )
    if set(name) & set('/\\:*?"<>|\0'):
        raise PlanError(f"--name '{name}' must be a file name; choose the folder with -o.")


def _find(inputs: Sequence[str], *, recursive: bool) -> tuple[list[_Found], list[Outcome]]:
    found: dict[Path, _Found] = {}
    problems: list[Outcome] = []
    several = sum(_is_folder(Path(text)) for text in inputs) > 1
    for text in inputs:
        for item in _expand(Path(text), keep_name=several, recursive=recursive):
            if isinstance(item, Outcome):
                problems.append(item)
            else:
                found.setdefault(item.place / item.source.name, item)
    return list(found.values()), problems


def _expand(path: Path, *, keep_name: bool, recursive: bool) -> Iterator[_Found | Outcome]:
    if _is_folder(path):
        root = _real(path)
        below = Path(root.name) if keep_name else Path()
        yield from _walk(path, below, root=root, recursive=recursive, seen=set())
    elif os.path.lexists(path) or not WILDCARD.search(str(path)):
        yield _Found(path, _real(path.parent))
    else:
        yield from _glob(path, recursive=recursive)


def _walk(
    folder: Path, below: Path, *, root: Path, recursive: bool, seen: set[Path]
) -> Iterator[_Found | Outcome]:
    place = _real(folder)
    if place in seen:  # a symbolic link back up
        return
    seen.add(place)
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        job = Job(folder, folder)
        yield _failed(job, f"Cannot list the folder '{folder}': {error.strerror}.")
        return
    for entry in entries:
        if entry.name.startswith("."):  # hidden, as unfinished results are
            continue
        if _is_folder(entry):
            if recursive:
                inner = below / entry.name
                yield from _walk(entry, inner, root=root, recursive=recursive, seen=seen)
        else:
            yield _Found(entry, place, below, root)


def _glob(pattern: Path, *, recursive: bool) -> Iterator[_Found | Outcome]:
    """What the pattern matches; its part without wildcards is the folder whose tree is kept."""
    plain = next(i for i, part in enumerate(pattern.parts) if WILDCARD.search(part))
    top = Path(*pattern.parts[:plain])
    root, seen = _real(top), set[Path]()
    matches = sorted(top.glob(str(Path(*pattern.parts[plain:]))))
    if not matches:
        yield _failed(Job(pattern, pattern), f"No file matches '{pattern}'.")
    for match in matches:
        below = match.relative_to(top)
        if any(part.startswith(".") for part in below.parts):
            continue
        if _is_folder(match):
            yield from _walk(match, below, root=root, recursive=recursive, seen=seen)
        else:
            yield _Found(match, _real(match.parent), below.parent, root)


def _single(found: list[_Found], problems: list[Outcome], out: Path, naming: _Naming) -> Plan:
    if len(found) + len(problems) != 1 or found[0].root is not None:
        raise PlanError(f"'{out}' names one result, but there are several inputs: give a folder.")
    if not naming.keeps_names:
        raise PlanError(f"'{out}' names the result, which leaves nothing to --name and --format.")
    if format_of(out.suffix) is None:
        raise PlanError(f"Cannot write '{out}': choose from {', '.join(WRITABLE)}.")
    jobs, problems = _checked([Job(found[0].source, out)])
    return Plan(tuple(jobs), tuple(problems), strangers=0, results=0)


def _place(items: list[_Found], out: Path, naming: _Naming) -> tuple[list[Job], list[Outcome]]:
    jobs, problems = [], []
    for item in items:
        folder = out / item.below
        try:
            jobs.append(Job(item.source, folder / naming.result(item.source)))
        except ImageError as error:
            problems.append(_failed(Job(item.source, folder / item.source.name), str(error)))
    return jobs, problems


def _without_results(jobs: list[Job], naming: _Naming) -> list[Job]:
    """The jobs whose source is not the result that another one has, or had with another model."""
    makers: dict[tuple[Path, str, str], set[Path]] = defaultdict(set)
    for job in jobs:
        makers[_real(job.target.parent), job.source.stem, job.target.suffix].add(job.source)

    def is_result(source: Path) -> bool:
        folder = _real(source.parent)
        return any(
            makers.get((folder, stem, suffix), set()) - {source}
            for stem, suffix in naming.origins(source.name)
        )

    return [job for job in jobs if not is_result(job.source)]


def _checked(jobs: list[Job]) -> tuple[list[Job], list[Outcome]]:
    """Those that can be done, and those that cannot, with the reason."""
    sources = {_identity(job.source): job.source for job in jobs}
    makers: dict[object, Path] = {}
    sound, problems, overwriting = [], [], []
    for job in jobs:
        target = _identity(job.target)
        if reason := _objection(job.source):
            problems.append(_failed(job, reason))
        elif target in sources:
            reason = f"The result of '{job.source}' would overwrite the input '{sources[target]}'."
            overwriting.append(_failed(job, reason))
        elif (first := makers.setdefault(target, job.source)) != job.source:
            reason = f"'{first}' and '{job.source}' would both be written to '{job.target}'."
            problems.append(_failed(job, reason))
        else:
            sound.append(job)
    if overwriting and not sound:
        raise PlanError(
            f"{overwriting[0].reason} Choose another folder with -o, "
            "or other names with --name '{stem}_restored{suffix}'."
        )
    return sound, problems + overwriting


def _objection(source: Path) -> str | None:
    """Why this is no file that can be read, as far as can be told from outside."""
    try:
        is_file = stat.S_ISREG(source.stat().st_mode)
    except FileNotFoundError:
        return f"'{source}' does not exist."
    except OSError as error:
        return f"Cannot read '{source}': {error.strerror}."
    return None if is_file else f"'{source}' is not a file."


def _failed(job: Job, reason: str) -> Outcome:
    return Outcome(job, "failed", reason)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # its parent may not be entered
        return False


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _identity(path: Path) -> tuple[int, int] | Path:
    """Equal for two names of one file, be it by links or by a file system blind to case."""
    try:
        status = path.stat()
    except OSError:
        return _real(path)
    return status.st_dev, status.st_ino
