"""Shards streamed from any URL that `webdataset` opens, each by one process of a job."""

import tarfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import count, islice
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from numpy.random import default_rng
from torch.utils.data import IterableDataset, get_worker_info

from maskdcpt_cli.data.augment import Augmentation
from maskdcpt_cli.data.loading import run
from maskdcpt_cli.data.mixture import (
    ATTEMPTS,
    Sample,
    check_labels,
    make_sample,
    stack,
    too_many_broken,
)
from maskdcpt_cli.data.order import Batches, SampleKey
from maskdcpt_cli.data.pairs import Pair
from maskdcpt_cli.data.sets import DEFAULT_SYNTHESIS
from maskdcpt_cli.data.shards import stored_png
from maskdcpt_cli.data.shards.index import INDEX, Shard, choose, parse_index
from maskdcpt_cli.degradations import SETTINGS
from maskdcpt_cli.errors import ImageError, MaskDCPTError
from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.images.reading import decode_rgb
from maskdcpt_cli.presets.data import Data, Shards, Synthesis

Members = Mapping[str, Any]  # of a sample in a shard: bytes by suffix, and "__key__"

OPEN_SHARDS = 8  # shards that a process reads in turn
MAX_TRIES = 3  # times that a shard is opened before its failing stops the training
SCHEMES = ("", "file", "http", "https", "gs", "ais", "hf")  # of URLs; "" of a path


@dataclass(frozen=True)
class StreamSource:
    """The shards of one degradation, and how often an epoch visits them."""

    index: str  # URL of an index.json; the shards' have their names instead
    degradation: str  # abbreviation
    clean: bool = False  # the clean crops, to be degraded
    repeat: int = 1
    synthesis: Synthesis = DEFAULT_SYNTHESIS
    allow_pipe: bool = False  # whether the index may be a shell command, after "pipe:"


@dataclass(frozen=True)
class ShardVisit:
    """One reading of one shard."""

    url: str
    shard: Shard
    source: StreamSource


class Stream(IterableDataset[Sample]):
    """The batches of one rank; one process reads a shard from its beginning to its end.

    An epoch visits every shard as often as its source repeats, in a random order, and the visits
    are distributed over all processes of all ranks. Each process reads OPEN_SHARDS of them in turn,
    and continues with its visits of the next epoch, so no rank waits for another or runs out. The
    samples of an iteration depend on (seed, iteration, rank, world, workers).
    """

    def __init__(
        self,
        sources: Sequence[StreamSource],
        batches: Batches,
        *,
        labels: Sequence[str],
        workers: int,
        seed: int = 0,
    ) -> None:
        """Open the indices; raise MaskDCPTError for fewer shards than processes that read."""
        self.batches = batches
        self.labels = tuple(labels)
        self.seed = seed
        self.workers = workers
        self.lanes = max(workers, 1)  # processes of this rank that read
        for source in sources:
            check_labels(frozenset({source.degradation}), source.synthesis, labels=self.labels)
        self.visits = tuple(visit for source in sources for visit in _visits(source))
        shards, readers = len({visit.url for visit in self.visits}), batches.world * self.lanes
        if shards < readers:
            raise MaskDCPTError(
                f"{shards} shards are too few for {readers} processes ({batches.world} ranks with "
                f"{self.lanes} each), which read none in common: use fewer workers, or pack "
                "smaller shards with `maskdcpt data pack --shard-size`."
            )

    def __iter__(self) -> Iterator[Sample]:
        worker = get_worker_info()
        first = self.batches.first + (worker.id if worker else 0)  # a loader begins with worker 0
        lane = first % self.lanes
        pairs = self._pairs(lane, skip=self.batches.taken(range(lane, first, self.lanes)))
        for iteration in count(first, self.lanes):
            over = self.batches.last is not None and iteration >= self.batches.last
            draws = None if over else self.batches.at(iteration)
            if draws is None:
                return
            yield stack([self._sample(*next(pairs), draw) for draw in draws])

    def _sample(
        self, pair: Pair, synthesis: Synthesis, skipped: Sequence[str], key: SampleKey
    ) -> Sample:
        generator = default_rng((self.seed, key.number))
        augmentation = Augmentation.draw(generator)
        height, width = pair.gt.shape[:2]
        crop = augmentation.crop(height, width, side=key.crop_size)
        cropped = pair._replace(
            gt=crop.of(pair.gt), lq=pair.lq if pair.lq is None else crop.of(pair.lq)
        )
        return make_sample(
            cropped,
            synthesis,
            augmentation,
            generator,
            key=key,
            labels=self.labels,
            skipped=skipped,
        )

    def _pairs(self, lane: int, *, skip: int) -> Iterator[tuple[Pair, Synthesis, Sequence[str]]]:
        """Yield the pairs of a lane after the first `skip`; the next good one replaces broken ones.

        So each position in the lane has one pair, whatever was skipped before.
        """
        skipped: list[str] = []
        for members, visit in self._members(lane, skip=skip):
            try:
                pair = _decoded(members, visit)
            except ImageError as error:
                skipped.append(str(error))
                if len(skipped) == ATTEMPTS:
                    raise MaskDCPTError(too_many_broken(skipped)) from error
                continue
            reasons: Sequence[str]
            for reasons in (*((reason,) for reason in skipped), ()):
                yield pair, visit.source.synthesis, reasons
            skipped.clear()

    def _members(self, lane: int, *, skip: int) -> Iterator[tuple[Members, ShardVisit]]:
        """Yield the samples of a lane, epoch after epoch; rounds before `skip` are not opened."""
        for epoch in count():
            visits = self._visits_of_lane(lane, epoch)
            for first in range(0, len(visits), OPEN_SHARDS):
                together = visits[first : first + OPEN_SHARDS]
                samples = sum(visit.shard.samples for visit in together)
                if skip < samples:
                    yield from islice(_in_turn(together), skip, None)
                skip = max(0, skip - samples)

    def _visits_of_lane(self, lane: int, epoch: int) -> list[ShardVisit]:
        """Return the visits of an epoch by a lane of this rank."""
        order = default_rng((self.seed, epoch)).permutation(len(self.visits))
        reader = self.batches.rank * self.lanes + lane
        return [self.visits[index] for index in order[reader :: self.batches.world * self.lanes]]


def open_stream(
    data: Data,
    root: str,
    batches: Batches,
    *,
    workers: int,
    seed: int = 0,
    allow_pipe: bool = False,
) -> Stream:
    """Open the stream of a preset whose sources are all shards.

    Args:
        data: preset.
        root: address that the paths of the preset follow, as "https://host/folder", or with `{}` in
            their position, as "pipe:aws s3 cp s3://bucket/{} -".
        batches: numbers and sizes of the samples of this rank.
        workers: processes that read; 0 is this process.
        seed: of the order and of all that is sampled.
        allow_pipe: whether the root may be a shell command, after "pipe:". Paths of the preset
            and names in an index then become parts of the command.

    Returns:
        A dataset for `stream`.

    Raises:
        MaskDCPTError: for another source, and for shards without a degradation in the preset.
    """
    pattern = root if "{}" in root else f"{root.rstrip('/')}/{{}}"
    sources: list[StreamSource] = []
    for part in data.train:
        for source in part.sources:
            if not isinstance(source, Shards) or part.degradation is None:
                raise MaskDCPTError(
                    f"'{source.name}' cannot be streamed: only shards of a degradation that the "
                    "preset names can; `maskdcpt data pack` writes them."
                )
            index = pattern.replace("{}", source.shards)
            sources.append(
                StreamSource(
                    index, part.degradation, source.clean, part.repeat, part.synthesis, allow_pipe
                )
            )
    return Stream(sources, batches, labels=SETTINGS[data.setting], workers=workers, seed=seed)


def stream(
    dataset: Stream, *, pin_memory: bool = False, prefetch: int = 4
) -> Generator[Sample, None, None]:
    """Yield the batches of a stream, as `load` does those of a mixture.

    Raises MaskDCPTError if most pairs are broken, a shard cannot be read, or a worker is killed.
    """
    yield from run(
        dataset, workers=dataset.workers, pin_memory=pin_memory, prefetch=prefetch, batch_size=None
    )


def _visits(source: StreamSource) -> list[ShardVisit]:
    scheme = urlsplit(source.index).scheme
    if scheme not in SCHEMES and not (scheme == "pipe" and source.allow_pipe):
        raise MaskDCPTError(
            f"{source.index} is not read: give a path, or a URL with "
            f"{', '.join(filter(None, SCHEMES))}; a command after 'pipe:' needs allow_pipe=True."
        )
    before, found, after = source.index.rpartition(INDEX)
    if not found:
        raise MaskDCPTError(f"{source.index} is not the URL of an {INDEX}.")
    shards = choose(
        parse_index(_fetched(source.index), name=source.index),
        degradation=source.degradation,
        clean=source.clean,
        name=source.index,
    )
    visits = [ShardVisit(f"{before}{shard.file}{after}", shard, source) for shard in shards]
    return visits * source.repeat


def _fetched(url: str) -> bytes:
    try:
        with _webdataset().gopen(url) as file:
            data: bytes = file.read()
            return data
    except OSError as error:
        raise MaskDCPTError(f"{url} cannot be read: {error}") from error


def _in_turn(visits: Sequence[ShardVisit]) -> Iterator[tuple[Members, ShardVisit]]:
    """Yield one sample of each shard, repeatedly, until all are read."""
    reading = [(_read(visit), visit) for visit in visits]
    while reading:
        still = []
        for samples, visit in reading:
            members = next(samples, None)
            if members is not None:
                yield members, visit
                still.append((samples, visit))
        reading = still


def _read(visit: ShardVisit) -> Iterator[Members]:
    """Yield the samples of a shard; after a connection error it is opened again.

    Raises MaskDCPTError if it has fewer samples than in the index.
    """
    done, reason = 0, "it ends too early"
    for _ in range(MAX_TRIES):
        try:
            with _webdataset().gopen(visit.url) as file:
                for members in islice(_samples(file, visit.url), done, visit.shard.samples):
                    done += 1
                    yield members
        except (OSError, tarfile.TarError) as error:
            reason = str(error)
        if done == visit.shard.samples:
            return
    raise MaskDCPTError(
        f"{visit.url} cannot be read beyond {done} of {visit.shard.samples} samples: {reason}."
    )


def _samples(file: Any, url: str) -> Iterator[Members]:
    tariterators = _webdataset().tariterators
    samples: Iterator[Members] = tariterators.group_by_keys(
        tariterators.tar_file_expander([{"url": url, "stream": file}])
    )
    return samples


def _decoded(members: Members, visit: ShardVisit) -> Pair:
    name = f"{visit.url}:{members['__key__']}"
    gt = _pixels(members, "gt.png", name)
    lq = None if visit.source.clean else _pixels(members, "lq.png", name)
    if lq is not None and lq.shape != gt.shape:
        raise ImageError(f"{name}: lq and gt differ in size.")
    return Pair(name, visit.source.degradation, gt, lq)


def _pixels(members: Members, suffix: str, name: str) -> Pixels:
    if suffix not in members:
        raise ImageError(f"{name} has no {suffix}.")
    data = members[suffix]
    pixels = stored_png.decode(data)
    return decode_rgb(data, name=f"{name}.{suffix}") if pixels is None else pixels


def _webdataset() -> ModuleType:
    try:
        return import_module("webdataset")
    except ImportError as error:
        raise MaskDCPTError(
            "Streaming shards needs webdataset: pip install 'maskdcpt[shards]'."
        ) from error
