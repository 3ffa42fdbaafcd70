"""Restore test sets and score the results, one set after another."""

import zlib
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from maskdcpt_cli.benchmarking import examples
from maskdcpt_cli.benchmarking.result_cache import ResultCache, Values
from maskdcpt_cli.benchmarking.table_rows import SetResult
from maskdcpt_cli.benchmarking.test_sets import (
    find_sets,
    info,
    key,
    read_sample,
    sample_name,
    sample_state,
)
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.errors import MAX_JOBS, MaskDCPTError, check_range
from maskdcpt_cli.inference.backends.exported import ExportedNetwork
from maskdcpt_cli.inference.networks import NetworkRestore, Restore, Restorer, open_network
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.plugins import source_state
from maskdcpt_cli.scoring.events import Item, Unavailable
from maskdcpt_cli.scoring.metrics import WITH_GT, WITHOUT_GT, find_metric
from maskdcpt_cli.scoring.protocols import DEFAULT, Protocol
from maskdcpt_cli.scoring.scorer import Scorer

RESTORED = "restored"  # folder of the restored images, with save_images
ALL = ""  # in place of an image's name: for metrics over the whole set


@dataclass(frozen=True)
class BenchmarkSettings:
    """Options of a benchmark."""

    folder: Path  # of the results
    metrics: tuple[str, ...] = ()  # each set takes the applicable ones; (): the default ones
    protocol: Protocol = DEFAULT
    device: str = "cpu"  # of metrics with a network
    jobs: int | None = None
    limit: int | None = None  # measure only the first images of each test set, this many
    save_images: bool = False

    def __post_init__(self) -> None:
        if self.jobs is not None:
            check_range("jobs", self.jobs, least=1, most=MAX_JOBS)
        if self.limit is not None:
            check_range("limit", self.limit, least=1)


class SetStarted(NamedTuple):
    """Event: a test set is started."""

    testset: ImageSet
    images: int
    cached: int  # images whose results are read from the result cache


class ImageScored(NamedTuple):
    """Event: an image is measured."""

    testset: ImageSet
    name: str
    values: Values
    notices: tuple[str, ...] = ()
    cached: bool = False  # read from the result cache


class ImageFailed(NamedTuple):
    """Event: an image could not be restored, or not be measured by every metric."""

    testset: ImageSet
    name: str
    reason: str


class SetFinished(NamedTuple):
    """Event: a test set is finished, or could not be measured, for the reason given."""

    result: SetResult
    reason: str = ""


Event = SetStarted | ImageScored | ImageFailed | Unavailable | SetFinished


def benchmark(
    model: Backbone | ExportedNetwork,
    folder: Path | str,
    *,
    data: str | None = None,
    root: Path | str | None = None,
    photos: Path | str | None = None,
    pairs: Sequence[tuple[Path | str, Path | str]] = (),
    metrics: Sequence[str] = (),
    limit: int | None = None,
    device: str = "auto",
) -> Generator[Event, None, None]:
    """Restore test sets and score the results, as `maskdcpt benchmark` does without its tables.

    Closing the generator keeps all results so far; the same call goes on from there.

    Args:
        model: A network, as `load_model` or `load_exported` returns it. A request-conditioned one
            is asked for the degradation of each test set.
        folder: The folder of the results and of examples.
        data: The data preset whose test sets are measured, by name or file.
        root: The folder of its data sets; None: the environment variable MASKDCPT_DATA.
        photos: A folder of clean photos, degraded as the clean images of the preset are.
        pairs: Folders of degraded and of clean images with the same names, in place of `data`.
        metrics: Names; each test set takes those that apply. (): PSNR and SSIM, or without ground
            truth the usual ones.
        limit: Measure only the first images of each test set, so many.
        device: The device of the network, as of `open_engine`.

    Yields:
        Events of `maskdcpt_cli.benchmarking.run`: an ImageScored or ImageFailed for each image, and
        exactly one SetFinished for each test set, whose `result.figures` are the means.

    Raises:
        MaskDCPTError: Test sets, a metric or a device do not exist, or the folder holds the results
            of another network.
    """
    applicable_metrics(metrics, blind=True)  # before anything is written
    sets = find_sets(data, root=root, photos=photos, pairs=pairs)
    network = open_network(model, device=device)
    settings = BenchmarkSettings(Path(folder), metrics=tuple(metrics), limit=limit)
    yield from measure(sets, network.restore, settings, open_cache(network, settings))


def open_cache(network: Restorer, settings: BenchmarkSettings) -> ResultCache:
    """Open the results of a network by these settings, and by the plugins as they are now."""
    made_by = (network.fingerprint, settings.protocol.name, source_state())
    return ResultCache(settings.folder, made_by="-".join(filter(None, made_by)))


def measure(
    sets: Sequence[ImageSet],
    restore: Restore,
    settings: BenchmarkSettings,
    cache: ResultCache,
) -> Generator[Event, None, None]:
    """Measure test sets one after another.

    Closing the generator keeps all results so far in `cache`.

    Args:
        sets: Test sets, as `find_sets` finds them.
        restore: Function from lq to the restored image, both (H, W, 3) in [0, 1]. A
            request-conditioned network (`NetworkRestore`) is asked for the degradation of each set.
        settings: Metrics, protocol and folder of the results.
        cache: Earlier results, which are not computed again.

    Yields:
        An ImageScored or ImageFailed for each image, and exactly one SetFinished for each test
        set.

    Raises:
        MaskDCPTError: A metric is unknown.
    """
    opened: dict[bool, OpenMetrics] = {}
    for one in sets:
        if one.missing:
            yield SetFinished(SetResult(info(one), {}), one.missing)
            continue
        metrics = applicable_metrics(settings.metrics, blind=one.blind)
        if not metrics:
            names = ", ".join(settings.metrics)
            reason = f"it has no ground truth, which {names} need"
            yield SetFinished(SetResult(info(one), {}), reason)
            continue
        if one.blind not in opened:
            opened[one.blind] = _open(metrics, settings, with_gt=not one.blind)
            yield from opened[one.blind].scorer.unavailable
        yield from _measure(_SetRun(one, restore, settings, cache, opened[one.blind]))


def applicable_metrics(metrics: Sequence[str], *, blind: bool) -> tuple[str, ...]:
    """Return the metrics that apply to a test set: without ground truth only no-reference metrics.

    Raises:
        MaskDCPTError: For an unknown name.
    """
    if not metrics:
        return WITHOUT_GT if blind else WITH_GT
    return tuple(metric for metric in metrics if not (blind and find_metric(metric).reference))


class OpenMetrics(NamedTuple):
    """Scorer and the names of its available metrics."""

    scorer: Scorer
    ready: tuple[str, ...]


def _open(names: Sequence[str], settings: BenchmarkSettings, *, with_gt: bool) -> OpenMetrics:
    scorer = Scorer(
        names,
        protocol=settings.protocol,
        with_gt=with_gt,
        jobs=settings.jobs,
        device=settings.device,
    )
    unavailable = {one.metric for one in scorer.unavailable}
    return OpenMetrics(scorer, tuple(name for name in scorer.metrics if name not in unavailable))


class _SetRun:
    """Measurement of one test set."""

    def __init__(
        self,
        testset: ImageSet,
        restore: Restore,
        settings: BenchmarkSettings,
        cache: ResultCache,
        metrics: OpenMetrics,
    ) -> None:
        self.testset, self.settings, self.cache = testset, settings, cache
        if isinstance(restore, NetworkRestore):
            restore = restore.removing(testset.degradation)
        self.restore = restore
        self.key = key(testset)
        self.scorer = metrics.scorer
        self.images = min(len(testset), settings.limit or len(testset))
        self.per_image = tuple(m for m in metrics.ready if not self.scorer.metrics[m].over_set)
        self.over_set = tuple(m for m in metrics.ready if self.scorer.metrics[m].over_set)
        self.failures: deque[ImageFailed] = deque()

    def cached(self) -> dict[int, Values]:
        """Return the cached values by index of the image; none if all must be restored again.

        That is so for metrics over the whole set where an image has none: it may have failed when
        these were measured. An image of which a file is missing that is to be written is restored
        again, too.
        """
        found = {index: self._cached_values(index) for index in range(self.images)}
        if self.over_set and (self.cached_over_set() is None or None in found.values()):
            return {}
        return {
            index: values
            for index, values in found.items()
            if values is not None and self._is_written(index)
        }

    def cached_over_set(self) -> Values | None:
        """Return the cached values of the metrics over the whole set."""
        return self.cache.find(self.key, ALL, self._state_of_all(), self.over_set)

    def score(self, indices: Sequence[int]) -> Iterator[ImageScored | ImageFailed]:
        """Restore images, and score each while the next ones are restored."""
        with closing(self.scorer.score(self._items(indices))) as scored:
            for one in scored:
                yield from self._failures()
                index = int(one.name)
                name = sample_name(self.testset, index)
                if one.problem or one.failed:
                    yield ImageFailed(
                        self.testset, name, one.problem or " ".join(one.failed.values())
                    )
                if one.values:
                    state = sample_state(self.testset, index)
                    self.cache.add(self.key, name, state, one.values)
                    yield ImageScored(self.testset, name, one.values, one.notices)
        yield from self._failures()
        if self.scorer.over_set and len(indices) == self.images:  # else it is that of some images
            self.cache.add(self.key, ALL, self._state_of_all(), self.scorer.over_set)

    def _items(self, indices: Sequence[int]) -> Iterator[Item]:
        shown = examples.shown_indices(self.images)
        for index in indices:
            name = sample_name(self.testset, index)
            try:
                sample = read_sample(self.testset, index)
                restored = self.restore(sample.lq)
            except (MaskDCPTError, RuntimeError) as error:  # networks raise RuntimeError
                self.failures.append(ImageFailed(self.testset, name, str(error).strip()))
                continue
            if index in shown:
                examples.write_example(self.settings.folder, self.key, name, sample, restored)
            if self.settings.save_images:
                folder = self.settings.folder
                examples.save_png(self._file(name), examples.to_uint8(restored), folder=folder)
            yield Item(str(index), restored, sample.gt)

    def _is_written(self, index: int) -> bool:
        name, folder = sample_name(self.testset, index), self.settings.folder
        shown = index in examples.shown_indices(self.images)
        if shown and not examples.is_written(folder, self.key, name):
            return False
        return not self.settings.save_images or self._file(name).exists()

    def _file(self, name: str) -> Path:
        below = name if name.lower().endswith(".png") else f"{name}.png"
        return self.settings.folder / RESTORED / self.key / below

    def _cached_values(self, index: int) -> Values | None:
        name, state = sample_name(self.testset, index), sample_state(self.testset, index)
        return self.cache.find(self.key, name, state, self.per_image)

    def _state_of_all(self) -> Sequence[object]:
        states = (sample_state(self.testset, index) for index in range(self.images))
        return [self.images, zlib.crc32(repr(list(states)).encode())]

    def _failures(self) -> Iterator[ImageFailed]:
        while self.failures:
            yield self.failures.popleft()


def _measure(run: _SetRun) -> Generator[Event, None, None]:
    values = run.cached()
    yield SetStarted(run.testset, run.images, len(values))
    for index, known in values.items():
        yield ImageScored(run.testset, sample_name(run.testset, index), known, cached=True)
    measured, failed = list(values.values()), set[str]()
    for event in run.score([index for index in range(run.images) if index not in values]):
        if isinstance(event, ImageScored):
            measured.append(event.values)
        else:
            failed.add(event.name)
        yield event
    if run.over_set and not values:
        yield from (one for one in run.scorer.unavailable if one.metric in run.over_set)
    figures = {**_means(measured, run.per_image), **(run.cached_over_set() or {})}
    expected = run.testset.expected or len(run.testset)
    reason = "" if figures else f"none of its {run.images} images could be measured"
    result = SetResult(info(run.testset), figures, len(measured), expected, len(failed))
    yield SetFinished(result, reason)


def _means(values: Sequence[Values], metrics: Sequence[str]) -> dict[str, float]:
    """Return for each metric the mean over the images that have it."""
    found = {metric: [one[metric] for one in values if metric in one] for metric in metrics}
    return {metric: fmean(some) for metric, some in found.items() if some}
