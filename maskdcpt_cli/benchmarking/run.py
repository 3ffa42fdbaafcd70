"""Restores test sets and scores what comes of them, set by set."""

import zlib
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from maskdcpt_cli.benchmarking import examples
from maskdcpt_cli.benchmarking.result_cache import Kept, Values
from maskdcpt_cli.benchmarking.table_rows import Measured
from maskdcpt_cli.benchmarking.test_sets import Absent, Found
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.inference.networks import Restore
from maskdcpt_cli.scoring.events import Item, Unavailable
from maskdcpt_cli.scoring.metrics import WITH_GT, WITHOUT_GT, find_metric
from maskdcpt_cli.scoring.protocols import DEFAULT, Protocol
from maskdcpt_cli.scoring.scorer import Scorer

RESTORED = "restored"  # folder of --save-images
ALL = ""  # in place of a picture's name, for what is measured of all of them together


@dataclass(frozen=True)
class Settings:
    """How test sets are measured."""

    folder: Path  # of the results
    metrics: tuple[str, ...] = ()  # those that suit a test set; (): the usual ones
    protocol: Protocol = DEFAULT
    device: str = "cpu"  # of metrics that are networks
    jobs: int | None = None
    limit: int | None = None  # of the pictures of each test set, the first ones
    save_images: bool = False


class Opened(NamedTuple):
    """A test set is begun; so many of its pictures have results from before."""

    testset: Found
    pictures: int
    kept: int


class Scored(NamedTuple):
    """A picture has its figures."""

    testset: Found
    name: str
    values: Values
    notices: tuple[str, ...] = ()
    kept: bool = False  # from before


class Failed(NamedTuple):
    """A picture could not be restored or measured, or not by every metric."""

    testset: Found
    name: str
    reason: str


class Closed(NamedTuple):
    """A test set is done, or is not there, for a reason."""

    measured: Measured
    reason: str = ""


Event = Opened | Scored | Failed | Unavailable | Closed


def benchmark(
    sets: Sequence[Found | Absent], restore: Restore, settings: Settings, kept: Kept
) -> Generator[Event, None, None]:
    """Measure test sets one after another; each ends in exactly one Closed.

    What has a result in `kept` is not done again. A picture that cannot be read or restored is
    one that Failed, and the others go on. Closing the generator leaves every result that was
    reached.
    """
    opened: dict[bool, Metrics] = {}
    for one in sets:
        if isinstance(one, Absent):
            yield Closed(Measured(one.about, {}), one.reason)
            continue
        metrics = suiting(settings.metrics, blind=one.blind)
        if not metrics:
            names = ", ".join(settings.metrics)
            yield Closed(Measured(one.about, {}), f"it has no clean pictures to take {names} of")
            continue
        if one.blind not in opened:
            opened[one.blind] = _open(metrics, settings, with_gt=not one.blind)
            yield from opened[one.blind].scorer.unavailable
        yield from _measure(_Run(one, restore, settings, kept, opened[one.blind]))


def suiting(metrics: Sequence[str], *, blind: bool) -> tuple[str, ...]:
    """The metrics that can be taken of a test set: without clean pictures not all can.

    Raises MaskDCPTError for an unknown name.
    """
    if not metrics:
        return WITHOUT_GT if blind else WITH_GT
    return tuple(metric for metric in metrics if not (blind and find_metric(metric).reference))


class Metrics(NamedTuple):
    """Metrics that have been opened, and the names of those that could be."""

    scorer: Scorer
    ready: tuple[str, ...]


def _open(names: Sequence[str], settings: Settings, *, with_gt: bool) -> Metrics:
    scorer = Scorer(
        names,
        protocol=settings.protocol,
        with_gt=with_gt,
        jobs=settings.jobs,
        device=settings.device,
    )
    lacking = {one.metric for one in scorer.unavailable}
    return Metrics(scorer, tuple(name for name in scorer.metrics if name not in lacking))


class _Run:
    """A test set while it is measured."""

    def __init__(
        self, testset: Found, restore: Restore, settings: Settings, kept: Kept, metrics: Metrics
    ) -> None:
        self.testset, self.restore, self.settings, self.kept = testset, restore, settings, kept
        self.scorer = metrics.scorer
        self.pictures = min(len(testset), settings.limit or len(testset))
        self.each = tuple(m for m in metrics.ready if not self.scorer.metrics[m].over_set)
        self.together = tuple(m for m in metrics.ready if self.scorer.metrics[m].over_set)
        self.broken: deque[Failed] = deque()

    def known(self) -> dict[int, Values]:
        """The values from before, by the place of the picture; none where all must be seen anew."""
        if self.together and self.known_together() is None:
            return {}
        found = {place: self._known(place) for place in range(self.pictures)}
        return {place: values for place, values in found.items() if values is not None}

    def known_together(self) -> Values | None:
        """What was measured before of all pictures at once."""
        return self.kept.find(self.testset.key, ALL, self._state_of_all(), self.together)

    def score(self, places: Sequence[int]) -> Iterator[Scored | Failed]:
        """Restore pictures, and score each while the next ones are restored."""
        with closing(self.scorer.score(self._items(places))) as scored:
            for one in scored:
                yield from self._broken()
                place = int(one.name)
                name = self.testset.name(place)
                if one.problem or one.failed:
                    yield Failed(self.testset, name, one.problem or " ".join(one.failed.values()))
                if one.values:
                    state = self.testset.state(place)
                    self.kept.add(self.testset.key, name, state, one.values)
                    yield Scored(self.testset, name, one.values, one.notices)
        yield from self._broken()
        if self.scorer.over_set:
            self.kept.add(self.testset.key, ALL, self._state_of_all(), self.scorer.over_set)

    def _items(self, places: Sequence[int]) -> Iterator[Item]:
        shown = examples.places(self.pictures)
        for place in places:
            name = self.testset.name(place)
            try:
                case = self.testset.read(place)
                restored = self.restore(case.lq)
            except (MaskDCPTError, RuntimeError) as error:  # the latter is what networks raise
                self.broken.append(Failed(self.testset, name, str(error).strip()))
                continue
            if place in shown:
                examples.keep(self.settings.folder, self.testset.key, place, case, restored)
            if self.settings.save_images:
                examples.save(self._file(name), examples.rounded(restored))
            yield Item(str(place), restored, case.gt)

    def _file(self, name: str) -> Path:
        below = name if name.lower().endswith(".png") else f"{name}.png"
        return self.settings.folder / RESTORED / self.testset.key / below

    def _known(self, place: int) -> Values | None:
        name, state = self.testset.name(place), self.testset.state(place)
        return self.kept.find(self.testset.key, name, state, self.each)

    def _state_of_all(self) -> Sequence[object]:
        states = (self.testset.state(place) for place in range(self.pictures))
        return [self.pictures, zlib.crc32(repr(list(states)).encode())]

    def _broken(self) -> Iterator[Failed]:
        while self.broken:
            yield self.broken.popleft()


def _measure(run: _Run) -> Generator[Event, None, None]:
    values = run.known()
    yield Opened(run.testset, run.pictures, len(values))
    for place, known in values.items():
        yield Scored(run.testset, run.testset.name(place), known, kept=True)
    measured, failed = list(values.values()), set[str]()
    for event in run.score([place for place in range(run.pictures) if place not in values]):
        if isinstance(event, Scored):
            measured.append(event.values)
        else:
            failed.add(event.name)
        yield event
    if run.together:
        yield from (one for one in run.scorer.unavailable if one.metric in run.together)
    figures = {**_means(measured, run.each), **(run.known_together() or {})}
    expected = run.testset.expected or len(run.testset)
    reason = "" if figures else f"none of its {run.pictures} pictures could be measured"
    about = run.testset.about
    yield Closed(Measured(about, figures, len(measured), expected, len(failed)), reason)


def _means(values: Sequence[Values], metrics: Sequence[str]) -> dict[str, float]:
    """The mean over the pictures that have a metric."""
    found = {metric: [one[metric] for one in values if metric in one] for metric in metrics}
    return {metric: fmean(some) for metric, some in found.items() if some}
