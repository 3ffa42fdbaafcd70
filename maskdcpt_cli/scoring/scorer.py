"""Measure images in several threads; each image is read once for all metrics."""

import math
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskdcpt_cli.data.parallel import processors
from maskdcpt_cli.errors import (
    MAX_JOBS,
    ImageError,
    MaskDCPTError,
    check_max_pixels,
    check_range,
    unknown,
)
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.images.reader import PhotoReader, reading_by
from maskdcpt_cli.scoring.events import Item, Scored, Unavailable
from maskdcpt_cli.scoring.images import ScoringImage, read_image, read_pair
from maskdcpt_cli.scoring.metrics import Metric, find_metrics
from maskdcpt_cli.scoring.protocols import DEFAULT, PROTOCOLS, Protocol
from maskdcpt_cli.scoring.pyiqa_adapter import Measure, duplicate, open_metric, quiet, reason
from maskdcpt_cli.scoring.separable_ssim import Separable
from maskdcpt_cli.scoring.set_metrics import SetFolders
from maskdcpt_cli.scoring.summary import ScoreResult, summarise

__all__ = ["Item", "ScoreResult", "Scored", "Scorer", "Unavailable", "score"]

PREFETCH = 2  # images in the queue, per thread
MAX_DEFAULT_JOBS = 8  # SSIM takes 400 bytes per pixel in each
LARGE = 4_000_000  # pixels; larger images are measured one at a time


def score(
    items: Iterable[Item],
    metrics: Sequence[str] | None = None,
    *,
    protocol: Protocol | str = DEFAULT,
    jobs: int | None = None,
    device: str = "cpu",
    max_pixels: int | None = MAX_PIXELS,
) -> ScoreResult:
    """Measure restored images by pyiqa's metrics.

    An image that cannot be read, or a metric whose weights cannot be downloaded, does not stop the
    others. `Scorer` yields the values image by image.

    Args:
        items: Restored images and their ground truths, as `pair_files` returns them.
        metrics: pyiqa's names; None takes psnr and ssim, or piqe without ground truth.
        protocol: Definition of PSNR and SSIM, or its name, as "basicsr".
        jobs: Threads; None takes one per processor, eight at most.
        device: Device of metrics with a network: "cpu", "cuda", "cuda:1", "mps".
        max_pixels: Larger images are refused; None for no limit.

    Returns:
        The values of each image, and `means` and `intervals` by metric. Images and metrics that
        could not be measured are in `Scored.problem` and `ScoreResult.unavailable`.

    Raises:
        MaskDCPTError: A metric or the protocol is unknown, or lacks its ground truth; `jobs` is not
            from 1 to 256, or `max_pixels` below 1.
    """
    if isinstance(protocol, str):
        if protocol not in PROTOCOLS:
            raise MaskDCPTError(unknown("protocol", protocol, PROTOCOLS))
        protocol = PROTOCOLS[protocol]
    listed = list(items)
    with_gt = bool(listed) and all(item.gt is not None for item in listed)
    scorer = Scorer(
        metrics,
        protocol=protocol,
        with_gt=with_gt,
        jobs=jobs,
        device=device,
        max_pixels=max_pixels,
    )
    images = tuple(scorer.score(listed))
    summaries = tuple(summarise(scorer.metrics, images, scorer.over_set))
    return ScoreResult(images, summaries, scorer.unavailable)


class Scorer:
    """Open metrics, which may take seconds to open, to score one set after another.

    Attributes:
        metrics: properties of the requested metrics, by name.
        unavailable: metrics that could not be opened, or not be measured over the last set.
        over_set: values of the metrics over the last set; complete when its generator has ended.
    """

    def __init__(
        self,
        metrics: Sequence[str] | None = None,
        *,
        protocol: Protocol = DEFAULT,
        with_gt: bool = True,
        jobs: int | None = None,
        device: str = "cpu",
        max_pixels: int | None = MAX_PIXELS,
        reader: PhotoReader | None = None,
    ) -> None:
        check_max_pixels(max_pixels)
        if jobs is not None:
            check_range("jobs", jobs, least=1, most=MAX_JOBS)
        self.metrics: Mapping[str, Metric] = find_metrics(metrics, with_gt=with_gt)
        self.protocol, self.max_pixels = protocol, max_pixels
        self._reader = reader
        self.jobs = jobs or min(processors(), MAX_DEFAULT_JOBS)
        self.over_set: dict[str, float] = {}
        opened = {
            name: open_metric(name, protocol=protocol, device=device) for name in self.metrics
        }
        self._not_opened = tuple(one for one in opened.values() if isinstance(one, Unavailable))
        self.unavailable = self._not_opened
        ready = {name: one for name, one in opened.items() if not isinstance(one, Unavailable)}
        self._over_set = {name: one for name, one in ready.items() if self.metrics[name].over_set}
        each = {name: one for name, one in ready.items() if name not in self._over_set}
        # On a GPU all threads share the metrics, and only read images ahead.
        copies = self.jobs if device == "cpu" else 1
        self._idle: SimpleQueue[Mapping[str, Measure]] = SimpleQueue()
        for number in range(copies):
            self._idle.put(duplicate(each) if number else each)
        self._large = Lock()

    def score(self, items: Iterable[Item]) -> Generator[Scored, None, None]:
        """Yield the values of each item, in order; closing the generator stops the work."""
        self.over_set, self.unavailable = {}, self._not_opened
        waiting: deque[Future[Scored]] = deque()
        with TemporaryDirectory(prefix="maskdcpt-") if self._over_set else nullcontext() as scratch:
            pairs = SetFolders(Path(scratch)) if scratch else None
            # The files are closed first: a thread that reads one ends then.
            with self._threads() as pool, reading_by(self._reader) as files:
                for item in items:
                    waiting.append(pool.submit(self._scored, item, pairs, files))
                    if len(waiting) >= self.jobs * PREFETCH:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            if pairs:
                self._measure_set(pairs)

    @contextmanager
    def _threads(self) -> Iterator[ThreadPoolExecutor]:
        threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(self.jobs, initializer=self._start)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)

    def _start(self) -> None:
        if self.jobs > 1:
            torch.set_num_threads(1)  # more threads than processors would slow it down

    def _scored(self, item: Item, pairs: SetFolders | None, reader: PhotoReader) -> Scored:
        limit = self.max_pixels
        try:
            if item.gt is None:
                restored, gt = read_image(item.restored, max_pixels=limit, reader=reader), None
            else:
                restored, gt = read_pair(item.restored, item.gt, max_pixels=limit, reader=reader)
        except ImageError as error:
            return Scored(item.name, {}, problem=str(error))
        if pairs and gt:
            pairs.add(item, restored.pixels, gt.pixels)
        values, failed = self._measured(restored, gt)
        return Scored(item.name, values, restored.notices, failed=failed)

    def _measured(
        self, restored: ScoringImage, gt: ScoringImage | None
    ) -> tuple[dict[str, float], dict[str, str]]:
        pair = [_tensor(restored.pixels)] + ([_tensor(gt.pixels)] if gt else [])
        values: dict[str, float] = {}
        failed: dict[str, str] = {}
        measures = self._idle.get()
        try:
            with self._alone(pair[0]), Separable():
                for name, measure in measures.items():
                    given = pair if self.metrics[name].reference else pair[:1]
                    try:
                        values[name] = _finite(measure(*given))
                    except Exception as error:  # errors of any type, as on tiny images
                        failed[name] = f"{name} could not be measured: {reason(error)}."
        finally:
            self._idle.put(measures)
        return values, failed

    def _alone(self, image: Tensor) -> "Lock | nullcontext[None]":
        large = image.shape[2] * image.shape[3] > LARGE
        return self._large if large else nullcontext()

    def _measure_set(self, pairs: SetFolders) -> None:
        for name, measure in self._over_set.items():
            try:
                with quiet():
                    self.over_set[name] = pairs.measured_by(measure)
            except Exception as error:
                failed = Unavailable(name, f"{name} could not be measured: {reason(error)}.")
                self.unavailable += (failed,)


def _tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) as pyiqa reads files: (1, 3, H, W), float32 in [0, 1]."""
    channels_first = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    return channels_first[None].to(torch.float32).div(255)


def _finite(result: object) -> float:
    value = float(result)  # type: ignore[arg-type]  # a tensor of one element, or a number
    if not math.isfinite(value):
        raise ValueError(f"its value is {value}")
    return value
