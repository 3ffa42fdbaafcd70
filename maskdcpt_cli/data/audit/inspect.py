"""Read every image of a preset, to find all problems before a training run does."""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from maskdcpt_cli.data.audit.phash import alike, fingerprint, near
from maskdcpt_cli.data.audit.scan import PresetScan, Problem, Role, SourceRow
from maskdcpt_cli.data.audit.swapped_pairs import all_swapped, swapped, vote
from maskdcpt_cli.data.pairs import FilePairs, Names, Pairs, labels
from maskdcpt_cli.data.parallel import TOO_MANY, in_processes
from maskdcpt_cli.errors import ImageError, MaskDCPTError
from maskdcpt_cli.files import shown
from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.images.reading import decode_rgb
from maskdcpt_cli.images.workers import WorkerLost, WorkerPool

CHUNK = 32  # pairs that one call to another process inspects

PairProblem = tuple[str, str, str]  # kind, text and file of a Problem


class Batch(NamedTuple):
    """Consecutive pairs to inspect."""

    pairs: Pairs
    start: int
    stop: int


class PairInspection(NamedTuple):
    """Findings of a pair."""

    problems: tuple[PairProblem, ...]
    degradation: str = ""
    vote: float = 0.0  # of swapped_pairs.vote
    print: int | None = None  # fingerprint of the clean image, unless it was inspection just before


@dataclass
class RowInspection:
    """Findings of all pairs of a row."""

    row: SourceRow
    votes: "array[float]" = field(default_factory=lambda: array("f"))
    codes: "array[int]" = field(default_factory=lambda: array("b"))  # of degradations
    prints: "array[int]" = field(default_factory=lambda: array("Q"))
    indices: "array[int]" = field(default_factory=lambda: array("q"))  # of the prints

    def add(self, result: PairInspection) -> None:
        """Add the findings of the next pair."""
        if result.print is not None:
            self.prints.append(result.print)
            self.indices.append(len(self.votes))
        known = labels()
        degradation = result.degradation
        self.codes.append(known.index(degradation) if degradation in known else -1)
        self.votes.append(result.vote)


def inspect(
    preset_scan: PresetScan, *, jobs: int, pool: WorkerPool | None = None
) -> Generator[tuple[Problem, ...], None, None]:
    """Read every image, and yield the problems of each pair; last, those of all images together.

    Yields one tuple for each pair of the scan, and one more. The `jobs` processes are those of
    `pool`; None starts them.
    """
    every: list[RowInspection] = []
    every_batch = _batches(preset_scan)
    with closing(
        in_processes(_inspect_batch, every_batch, jobs=jobs, lost=_lost, pool=pool)
    ) as batches:
        results = (result for batch in batches for result in batch)
        for row in preset_scan.to_read:
            inspection = RowInspection(row)
            every.append(inspection)
            reported: set[PairProblem] = set()  # a clean image of several pairs is reported once
            for _ in range(len(row.scan.pairs)):
                result = next(results)
                inspection.add(result)
                new = [problem for problem in result.problems if problem not in reported]
                reported.update(new)
                yield tuple(Problem(kind, row.title, text, file) for kind, text, file in new)
        next(results, None)  # there is none: what ends early closes its processes
    yield (
        *(problem for inspection in every for problem in _swaps(inspection)),
        *_leaks(every, jobs=jobs, pool=pool),
    )


def _batches(preset_scan: PresetScan) -> Iterator[Batch]:
    for row in preset_scan.to_read:
        pairs = row.scan.pairs
        for start in range(0, len(pairs), CHUNK):
            yield _part(pairs, start, min(start + CHUNK, len(pairs)))


def _part(pairs: Pairs, start: int, stop: int) -> Batch:
    """Return some of the pairs, without the names of the others, to be sent to another process."""
    if not isinstance(pairs, FilePairs):
        return Batch(pairs, start, stop)
    gt = Names(pairs.gt[index] for index in range(start, stop))
    lq = pairs.lq and Names(pairs.lq[index] for index in range(start, stop))
    degradation = pairs.degradation
    if not isinstance(degradation, str):
        degradation = degradation[start:stop]
    some = replace(pairs, gt=gt, lq=lq, degradation=degradation, known_scenes=None)
    return Batch(some, 0, stop - start)


def _inspect_batch(batch: Batch) -> list[PairInspection]:
    pairs = batch.pairs
    if isinstance(pairs, FilePairs):
        return list(_inspect_files(pairs))
    return [_inspect_pair(pairs, index) for index in range(batch.start, batch.stop)]


def _lost(
    batch: Batch, error: WorkerLost, inspect: Callable[[Batch], list[PairInspection]]
) -> list[PairInspection]:
    """Inspect the pairs one by one, as a file of one of them ended the process."""
    if batch.stop - batch.start == 1:
        if not error.file:
            raise MaskDCPTError(TOO_MANY) from error
        return [PairInspection((("unreadable", str(error), ""),))]
    singles = (_part(batch.pairs, index, index + 1) for index in range(batch.start, batch.stop))
    return [one for single in singles for one in inspect(single)]


def _inspect_files(pairs: FilePairs) -> Iterator[PairInspection]:
    """Inspect pairs, and only once a clean image that several in a row have."""
    before: tuple[str, Pixels | None] = ("", None)
    for index in range(len(pairs)):
        name = pairs.gt[index]
        problems: list[PairProblem] = []
        known = name == before[0]
        gt = before[1] if known else _read(pairs, name, problems)
        before = name, gt
        strength = 0.0
        if pairs.lq is not None:
            lq = _read(pairs, pairs.lq[index], problems)
            if lq is not None and gt is not None and lq.shape != gt.shape:
                problems.append(_sizes(pairs.lq[index], lq, name, gt))
            elif lq is not None and gt is not None:
                strength = vote(pairs.degradation_of(index), lq, gt)
        mark = None if known or gt is None else fingerprint(gt)
        yield PairInspection(tuple(problems), pairs.degradation_of(index), strength, mark)


def _inspect_pair(pairs: Pairs, index: int) -> PairInspection:
    try:
        pair = pairs.read(index)
    except ImageError as error:
        return PairInspection((("unreadable", str(error), ""),))
    strength = 0.0 if pair.lq is None else vote(pair.degradation, pair.lq, pair.gt)
    return PairInspection((), pair.degradation, strength, fingerprint(pair.gt))


def _read(pairs: FilePairs, name: str, problems: list[PairProblem]) -> Pixels | None:
    try:
        data = (pairs.root / name).read_bytes()
        return decode_rgb(data, name=shown(name), max_pixels=pairs.max_pixels)
    except FileNotFoundError:
        problems.append(("missing", f"{shown(name)} is not there.", name))
    except OSError as error:
        problems.append(("unreadable", f"{shown(name)} cannot be read: {error.strerror}.", name))
    except ValueError as error:  # of a list in UTF-16, say
        problems.append(("unreadable", f"{shown(name)} is no file name: {error}.", name))
    except ImageError as error:
        problems.append(("unreadable", str(error), name))
    return None


def _sizes(lq_name: str, lq: Pixels, gt_name: str, gt: Pixels) -> PairProblem:
    of_lq, of_gt = (f"{image.shape[1]}x{image.shape[0]}" for image in (lq, gt))
    return (
        "size",
        f"{shown(lq_name)} is {of_lq} pixels, its clean {shown(gt_name)} {of_gt}.",
        lq_name,
    )


def _swaps(inspection: RowInspection) -> Iterator[Problem]:
    """Yield the sources and the pairs with lq and gt swapped, degradation by degradation."""
    title = inspection.row.title
    codes, all_votes = (
        np.frombuffer(inspection.codes, np.int8),
        np.frombuffer(inspection.votes, np.float32),
    )
    for code in np.unique(codes[codes >= 0]):
        indices = np.flatnonzero((codes == code) & (all_votes != 0))
        votes = all_votes[indices]
        if all_swapped(votes):
            wrong = f"{np.count_nonzero(votes < 0):,} of {len(votes):,} pairs"
            yield Problem("swapped", title, f"lq and gt look swapped in {wrong}.")
            continue
        for index in indices[swapped(labels()[code], votes)]:
            lq = _lq_name(inspection.row.scan.pairs, int(index))
            yield Problem("swapped", title, f"{shown(lq)} looks cleaner than its clean image.", lq)


def _lq_name(pairs: Pairs, index: int) -> str:
    if isinstance(pairs, FilePairs) and pairs.lq is not None:
        return pairs.lq[index]
    return pairs.read(index).name


class Fingerprinted:
    """Clean images of the training or of the test sets, and their fingerprints."""

    def __init__(self, every: Sequence[RowInspection], role: Role) -> None:
        own = [inspection for inspection in every if inspection.row.role == role]
        self.prints = np.array(
            [print for inspection in own for print in inspection.prints], np.uint64
        )
        self._indices = [index for inspection in own for index in inspection.indices]
        self._rows = [inspection.row for inspection in own]
        self._ends = list(accumulate(len(inspection.prints) for inspection in own))

    def row(self, number: int) -> SourceRow:
        """Return the row of a fingerprint."""
        return self._rows[bisect_right(self._ends, number)]

    def batch(self, number: int) -> Batch:
        """Return the pair of a fingerprint."""
        index = self._indices[number]
        return _part(self.row(number).scan.pairs, index, index + 1)


def _leaks(
    every: Sequence[RowInspection], *, jobs: int, pool: WorkerPool | None
) -> Iterator[Problem]:
    """Yield each clean image of a test set that is in a training set, too."""
    train, test = Fingerprinted(every, "train"), Fingerprinted(every, "test")
    candidates = near(train.prints, test.prints).tolist()
    reported: set[tuple[str, str, str]] = set()
    pairs = ((train.batch(one), test.batch(other)) for one, other in candidates)
    with closing(in_processes(_same, pairs, jobs=jobs, pool=pool)) as answers:
        for (one, other), names in zip(candidates, answers, strict=True):
            title, of_test = train.row(one).title, test.row(other).title
            if names and (title, of_test, names[1]) not in reported:
                reported.add((title, of_test, names[1]))
                text = f"{shown(names[0])} is {shown(names[1])} of {of_test}."
                yield Problem("leak", title, text, names[0])


def _same(batches: tuple[Batch, Batch]) -> tuple[str, str] | None:
    """Return the names of two clean images if they are the same image."""
    (one_name, one), (other_name, other) = (_clean(batch) for batch in batches)
    return (one_name, other_name) if alike(one, other) else None


def _clean(batch: Batch) -> tuple[str, Pixels]:
    if isinstance(batch.pairs, FilePairs):
        name = batch.pairs.gt[batch.start]
        return name, batch.pairs.read_file(name)
    pair = batch.pairs.read(batch.start)
    return pair.name, pair.gt
