"""Reading every picture of a preset_scan, to find all that is wrong before a training run does."""

import contextlib
import os
from array import array
from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np

from maskdcpt_cli.data.audit.phash import alike, fingerprint, near
from maskdcpt_cli.data.audit.scan import PresetScan, Problem, Role, SourceRow
from maskdcpt_cli.data.audit.swapped_pairs import all_swapped, swapped, vote
from maskdcpt_cli.data.pairs import ABBREVIATIONS, FilePairs, Names, Pairs
from maskdcpt_cli.data.parallel import in_processes
from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.images.reading import decode_rgb, read_rgb

TOGETHER = 32  # pairs that one call to another process looks at

Fault = tuple[str, str, str]  # kind, text and file of a Problem


class Batch(NamedTuple):
    """Some pairs to look at."""

    pairs: Pairs
    start: int
    stop: int


class PairInspection(NamedTuple):
    """What was seen of a pair."""

    faults: tuple[Fault, ...]
    degradation: str = ""
    vote: float = 0.0  # of swapping.vote
    print: int | None = None  # fingerprint of the clean picture, unless it was seen just before


@dataclass
class RowInspection:
    """What was seen of all pairs of a row."""

    row: SourceRow
    votes: "array[float]" = field(default_factory=lambda: array("f"))
    codes: "array[int]" = field(default_factory=lambda: array("b"))  # of degradations
    prints: "array[int]" = field(default_factory=lambda: array("Q"))
    places: "array[int]" = field(default_factory=lambda: array("q"))  # of the prints

    def add(self, look: PairInspection) -> None:
        if look.print is not None:
            self.prints.append(look.print)
            self.places.append(len(self.votes))
        known = look.degradation in ABBREVIATIONS
        self.codes.append(ABBREVIATIONS.index(look.degradation) if known else -1)
        self.votes.append(look.vote)


def inspect(preset_scan: PresetScan, *, jobs: int) -> Generator[tuple[Problem, ...], None, None]:
    """Read every picture, and yield the problems of each pair; last, what all show together.

    As many tuples come as the survey has pairs, and one.
    """
    every: list[RowInspection] = []
    with closing(in_processes(_look, _batches(preset_scan), jobs=jobs)) as batches:
        looks = (look for batch in batches for look in batch)
        for row in preset_scan.to_read:
            seen = RowInspection(row)
            every.append(seen)
            told: set[Fault] = set()  # of a clean picture that several have, each would tell
            for _ in range(len(row.scan.pairs)):
                look = next(looks)
                seen.add(look)
                new = [fault for fault in look.faults if fault not in told]
                told.update(new)
                yield tuple(Problem(kind, row.title, text, file) for kind, text, file in new)
    yield (*(problem for seen in every for problem in _swaps(seen)), *_leaks(every, jobs=jobs))


def _batches(preset_scan: PresetScan) -> Iterator[Batch]:
    for row in preset_scan.to_read:
        pairs = row.scan.pairs
        for start in range(0, len(pairs), TOGETHER):
            yield _part(pairs, start, min(start + TOGETHER, len(pairs)))


def _part(pairs: Pairs, start: int, stop: int) -> Batch:
    """Some of the pairs, with no more names than theirs to be sent to another process."""
    if not isinstance(pairs, FilePairs):
        return Batch(pairs, start, stop)
    gt = Names(pairs.gt[place] for place in range(start, stop))
    lq = pairs.lq and Names(pairs.lq[place] for place in range(start, stop))
    degradation = pairs.degradation
    if not isinstance(degradation, str):
        degradation = degradation[start:stop]
    return Batch(FilePairs(pairs.root, gt, lq, degradation), 0, stop - start)


def _look(batch: Batch) -> list[PairInspection]:
    pairs = batch.pairs
    with _silent():
        if isinstance(pairs, FilePairs):
            return list(_look_at_files(pairs))
        return [_look_at(pairs, place) for place in range(batch.start, batch.stop)]


def _look_at_files(pairs: FilePairs) -> Iterator[PairInspection]:
    """PairInspection at pairs, and only once at a clean picture that several in a row share."""
    before: tuple[str, Pixels | None] = ("", None)
    for place in range(len(pairs)):
        name = pairs.gt[place]
        faults: list[Fault] = []
        known = name == before[0]
        gt = before[1] if known else _read(pairs.root, name, faults)
        before = name, gt
        strength = 0.0
        if pairs.lq is not None:
            lq = _read(pairs.root, pairs.lq[place], faults)
            if lq is not None and gt is not None and lq.shape != gt.shape:
                faults.append(_sizes(pairs.lq[place], lq, name, gt))
            elif lq is not None and gt is not None:
                strength = vote(pairs.degradation_of(place), lq, gt)
        mark = None if known or gt is None else fingerprint(gt)
        yield PairInspection(tuple(faults), pairs.degradation_of(place), strength, mark)


def _look_at(pairs: Pairs, place: int) -> PairInspection:
    try:
        pair = pairs.read(place)
    except ImageError as error:
        return PairInspection((("unreadable", str(error), ""),))
    strength = 0.0 if pair.lq is None else vote(pair.degradation, pair.lq, pair.gt)
    return PairInspection((), pair.degradation, strength, fingerprint(pair.gt))


def _read(root: Path, name: str, faults: list[Fault]) -> Pixels | None:
    try:
        return decode_rgb((root / name).read_bytes(), name=name)
    except FileNotFoundError:
        faults.append(("missing", f"{name} is not there.", name))
    except OSError as error:
        faults.append(("unreadable", f"{name} cannot be read: {error.strerror}.", name))
    except ImageError as error:
        faults.append(("unreadable", str(error), name))
    return None


def _sizes(lq_name: str, lq: Pixels, gt_name: str, gt: Pixels) -> Fault:
    of_lq, of_gt = (f"{picture.shape[1]}x{picture.shape[0]}" for picture in (lq, gt))
    return "size", f"{lq_name} is {of_lq} pixels, its clean {gt_name} {of_gt}.", lq_name


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without what libpng and others print about damaged files, past Python."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _swaps(seen: RowInspection) -> Iterator[Problem]:
    """The sources and the pairs that are the wrong way round, degradation by degradation."""
    title = seen.row.title
    codes, all_votes = np.frombuffer(seen.codes, np.int8), np.frombuffer(seen.votes, np.float32)
    for code in np.unique(codes[codes >= 0]):
        places = np.flatnonzero((codes == code) & (all_votes != 0))
        votes = all_votes[places]
        if all_swapped(votes):
            wrong = f"{np.count_nonzero(votes < 0):,} of {len(votes):,} pairs"
            yield Problem("swapped", title, f"lq and gt look swapped in {wrong}.")
            continue
        for place in places[swapped(ABBREVIATIONS[code], votes)]:
            lq = _lq_name(seen.row.scan.pairs, int(place))
            yield Problem("swapped", title, f"{lq} looks cleaner than its clean picture.", lq)


def _lq_name(pairs: Pairs, place: int) -> str:
    if isinstance(pairs, FilePairs) and pairs.lq is not None:
        return pairs.lq[place]
    return pairs.read(place).name


class Fingerprinted:
    """The clean pictures of the training or of the test sets, and their fingerprints."""

    def __init__(self, every: Sequence[RowInspection], role: Role) -> None:
        own = [seen for seen in every if seen.row.role == role]
        self.prints = np.array([print for seen in own for print in seen.prints], np.uint64)
        self._places = [place for seen in own for place in seen.places]
        self._rows = [seen.row for seen in own]
        self._ends = list(accumulate(len(seen.prints) for seen in own))

    def row(self, number: int) -> SourceRow:
        return self._rows[bisect_right(self._ends, number)]

    def batch(self, number: int) -> Batch:
        place = self._places[number]
        return _part(self.row(number).scan.pairs, place, place + 1)


def _leaks(every: Sequence[RowInspection], *, jobs: int) -> Iterator[Problem]:
    """Each clean picture of a test set that is in a training set, too."""
    train, test = Fingerprinted(every, "train"), Fingerprinted(every, "test")
    candidates = near(train.prints, test.prints).tolist()
    told: set[tuple[str, str]] = set()
    pairs = ((train.batch(one), test.batch(other)) for one, other in candidates)
    with closing(in_processes(_same, pairs, jobs=jobs)) as answers:
        for (one, other), names in zip(candidates, answers, strict=True):
            title = train.row(one).title
            if names and (title, names[1]) not in told:
                told.add((title, names[1]))
                text = f"{names[0]} is {names[1]} of {test.row(other).title}."
                yield Problem("leak", title, text, names[0])


def _same(batches: tuple[Batch, Batch]) -> tuple[str, str] | None:
    """The names of two clean pictures, if they are the same picture."""
    (one_name, one), (other_name, other) = (_clean(batch) for batch in batches)
    return (one_name, other_name) if alike(one, other) else None


def _clean(batch: Batch) -> tuple[str, Pixels]:
    if isinstance(batch.pairs, FilePairs):
        name = batch.pairs.gt[batch.start]
        return name, read_rgb(batch.pairs.root / name)
    pair = batch.pairs.read(batch.start)
    return pair.name, pair.gt
