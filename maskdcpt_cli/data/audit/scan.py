"""The data sets of a preset, before any image is read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from maskdcpt_cli.data.pairs import FilePairs, Names
from maskdcpt_cli.data.sources import NONE, SourceScan, check_synthesis, is_clean, scan
from maskdcpt_cli.data.templates import Template
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import shown
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.presets.data import Data, Folders, Part, Source, TrainPart

Role = Literal["train", "test"]


class ProblemType(NamedTuple):
    """A type of problem."""

    title: str
    error: bool = True  # False: a warning; training is possible, but not on the paper's data


PROBLEM_TYPES: dict[str, ProblemType] = {
    "missing": ProblemType("missing"),
    "unreadable": ProblemType("unreadable"),
    "unpaired": ProblemType("unpaired"),
    "size": ProblemType("of different sizes"),
    "swapped": ProblemType("degraded and clean swapped"),
    "leak": ProblemType("in training and test sets"),
    "unused": ProblemType("clean images not used", error=False),
    "count": ProblemType("not the expected number", error=False),
}


@dataclass(frozen=True)
class Problem:
    """A problem of a data set."""

    kind: str  # of PROBLEM_TYPES
    source: str  # as "train LL LOL-v1"
    text: str  # a sentence, with the name of the file if there is one
    file: str = ""  # below the data root

    @property
    def error(self) -> bool:
        return PROBLEM_TYPES[self.kind].error


@dataclass(frozen=True)
class SourceRow:
    """A source of a preset, and its content."""

    role: Role
    part: Part
    source: Source
    scan: SourceScan
    read_as: str  # title of the first row with the same images, whose problems are this one's

    @property
    def title(self) -> str:
        return _title(self.role, self.part, self.source)


@dataclass(frozen=True)
class PresetScan:
    """The sources of a preset."""

    rows: tuple[SourceRow, ...]
    to_read: tuple[SourceRow, ...]  # none has the images of another
    problems: tuple[Problem, ...]

    def __len__(self) -> int:
        """Return the number of pairs to read."""
        return sum(len(row.scan.pairs) for row in self.to_read)


def scan_preset(preset: Data, root: Path, *, max_pixels: int | None = MAX_PIXELS) -> PresetScan:
    """Find the sources of a preset, and count their pairs.

    Raises MaskDCPTError for a synthesis that a degradation does not have.
    """
    known: dict[object, SourceRow] = {}
    rows: list[SourceRow] = []
    problems: list[Problem] = []
    parts: list[tuple[Role, Part]] = [("train", part) for part in preset.train]
    parts += [("test", part) for part in preset.test]
    for role, part in parts:
        check_synthesis(part)
        for source in part.sources:
            key = (role, source, None if is_clean(source) else part.degradation)
            if key not in known:
                known[key], found = _scan_row(role, part, source, root, max_pixels)
                problems += found
            rows.append(replace(known[key], part=part, source=source))
        problems += _miscounted(role, part, rows[-len(part.sources) :])
    return PresetScan(tuple(rows), tuple(known.values()), tuple(dict.fromkeys(problems)))


def _title(role: Role, part: Part, source: Source) -> str:
    return " ".join(filter(None, (role, part.degradation, source.name)))


def _scan_row(
    role: Role, part: Part, source: Source, root: Path, max_pixels: int | None
) -> tuple[SourceRow, list[Problem]]:
    title = _title(role, part, source)
    try:
        found = scan(source, root, part.degradation, max_pixels=max_pixels)
        row = SourceRow(role, part, source, found, title)
    except MaskDCPTError as error:
        nothing = SourceScan(FilePairs(root, NONE, None, part.degradation or ""))
        return SourceRow(role, part, source, nothing, title), [
            Problem("unreadable", title, str(error))
        ]
    return row, list(_unmatched(row))


def _unmatched(row: SourceRow) -> Iterator[Problem]:
    """Yield what is missing; else what has no partner, which a missing folder would explain."""
    found = row.scan
    for name in found.missing:
        yield Problem("missing", row.title, f"{shown(name)} is not there.", name)
    if found.missing:
        return
    if not len(found.pairs):
        yield Problem("missing", row.title, "No pairs are there.")
    for name in _each(found.unpaired):
        yield Problem("unpaired", row.title, f"{shown(name)} has no clean image.", name)
    kind = "unpaired" if _one_to_one(row.source) else "unused"
    for name in _each(found.unused):
        yield Problem(kind, row.title, f"{shown(name)} has no degraded image.", name)


def _miscounted(role: Role, part: Part, rows: Sequence[SourceRow]) -> Iterator[Problem]:
    """Yield a warning for each unexpected number of pairs; none if something is missing."""
    if any(row.scan.missing for row in rows):
        return
    for row in rows:
        found = len(row.scan.pairs)
        if row.read_as == row.title and row.source.pairs not in (None, found):
            text = f"{row.source.pairs:,} pairs are expected, and {found:,} are there."
            yield Problem("count", row.title, text)
    if isinstance(part, TrainPart) and part.pairs is not None:
        found = part.variants * sum(len(row.scan.pairs) for row in rows)
        if found != part.pairs:
            text = f"{part.pairs:,} pairs are expected in all, and {found:,} are there."
            yield Problem("count", f"{role} {part.degradation or ''}", text)


def _one_to_one(source: Source) -> bool:
    """Return whether each clean image has one lq; of many to one, clean images may be unused."""
    if not isinstance(source, Folders) or source.lq is None:
        return False
    return set(Template(source.lq).words) == set(Template(source.gt).words)


def _each(names: Names) -> Iterator[str]:
    return (names[index] for index in range(len(names)))
