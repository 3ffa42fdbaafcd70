"""Restoration of an image in memory, or of files while others are read and written."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.errors import ImageError, MaskDCPTError
from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.images.contact_sheets import write_sheet
from maskdcpt_cli.images.reader import PhotoReader, reading_by
from maskdcpt_cli.images.reading import Photo, page_from_array
from maskdcpt_cli.images.writing import write_photo
from maskdcpt_cli.inference.backends import Engine, open_engine
from maskdcpt_cli.inference.events import Advanced, Event, Job, Outcome, Remove, Settings, Started
from maskdcpt_cli.inference.plan import plan
from maskdcpt_cli.inference.prefetch import InFlight, prefetch, threads_for
from maskdcpt_cli.inference.removal import Remover, check_removal, open_remover
from maskdcpt_cli.inference.restore_page import (
    PreparedPage,
    RestoredPage,
    prepare,
    restore_page,
)
from maskdcpt_cli.inference.result_log import (
    Existing,
    begin,
    existing_result,
    fingerprint,
    record,
)
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.weights.checkpoint import DegradationClassifier

Pixels = NDArray[Any]
Result = TypeVar("Result")


def restore(
    model: Backbone | Engine,
    image: Pixels,
    *,
    remove: Remove | None = None,
    keep: tuple[str, ...] | None = None,
    classifier: DegradationClassifier | None = None,
    settings: Settings | None = None,
) -> Pixels:
    """Restore one image in memory.

    Args:
        model: A network, as `load_model` or `open_engine` returns it.
        image: sRGB, (H, W) or (H, W, C) with C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha;
            uint8, uint16, or float32 in [0, 1].
        remove: What a model that can be asked removes: "auto" what the classifier finds, "all" all
            that the model knows, or types, as ("noise", "jpeg"). None: as `settings` say.
        keep: Types that "auto" and "all" do not remove. None: as `settings` say.
        classifier: The classifier of "auto", as `load_classifier` returns it, used on the device
            of its network. None: the default one, on the device of the model.
        settings: Tiles, strength and self-ensemble; the rest concerns files. None: the defaults.

    Returns:
        The restored image, of the same shape and dtype, with the alpha of the input; the input
        where nothing is to be removed.

    Raises:
        ImageError: `image` has another shape or dtype, or the output of the network failed its
            check.
        BackendError: There is not enough memory even for the smallest tile.
        MaskDCPTError: The overlap is not less than half a tile, or the model cannot be asked what
            `remove` and `keep` say.
    """
    page, engine = page_from_array(image), _engine(model)
    given = _with_removal(settings, remove, keep)
    remover = open_remover(engine.model, given, classifier, device=engine.device)
    with ThreadPoolExecutor(1) as worker:
        prepared = prepare(page, Colour(), remover)
        steps = _Steps(restore_page(engine, prepared, given, worker))
        for _pixels in steps:
            pass
    restored = steps.result
    if restored.reason:
        raise ImageError(f"The image was not restored: {restored.reason}.")
    pixels = restored.finished().pixels
    if page.alpha is not None:
        pixels = np.concatenate([pixels, page.alpha[..., None]], axis=2)
    return pixels.reshape(image.shape)


def restore_folder(
    model: Backbone | Engine,
    folder: Path | str,
    out: Path | str,
    *,
    remove: Remove | None = None,
    keep: tuple[str, ...] | None = None,
    classifier: DegradationClassifier | None = None,
    settings: Settings | None = None,
    existing: Existing = "skip",
) -> Iterator[Outcome]:
    """Restore the photos of a folder and its subfolders into `out`, with the same tree.

    A photo that fails does not stop the others. Closing the iterator stops cleanly.

    Args:
        model: A network, as `load_model` or `open_engine` returns it.
        folder: The folder of the photos.
        out: The folder of the results; created where it does not exist.
        remove: What a model that can be asked removes; see `restore`.
        keep: Types that "auto" and "all" do not remove; see `restore`.
        classifier: The classifier of "auto"; see `restore`.
        settings: Settings of restoring and writing. None: the defaults.
        existing: What to do where a target exists: "skip" keeps a result of the same weights and
            settings and fails on any other file, "overwrite" replaces it, "error" fails.

    Returns:
        An iterator of one `Outcome` per photo; `failed` ones say why.

    Raises:
        MaskDCPTError: There is nothing to restore, or the model cannot be asked what `remove` and
            `keep` say.
    """
    engine, given = _engine(model), _with_removal(settings, remove, keep)
    check_removal(engine.model, given)
    planned = plan([str(folder)], Path(out), model="")
    yield from planned.problems
    events = restore_files(engine, planned.jobs, given, existing=existing, classifier=classifier)
    with closing(events):
        yield from (event for event in events if isinstance(event, Outcome))


def restore_files(
    engine: Engine,
    jobs: Iterable[Job],
    settings: Settings,
    *,
    existing: Existing = "skip",
    reader: PhotoReader | None = None,
    classifier: DegradationClassifier | None = None,
) -> Generator[Event, None, None]:
    """Restore files one by one; each job ends in exactly one Outcome, in the order of the jobs.

    While a photo is in the network, the next ones are read and the previous ones are written, by
    as many threads as `threads_for` says and within a bound of memory. Results are written
    atomically. Where a target exists, `skip` keeps a result of the same weights, settings and
    source, `overwrite` replaces it, and everything else is a failure. Files are read by `reader`;
    None opens one. What a network that can be asked removes is decided while a photo is read, by
    `classifier` where the settings say so; None takes the default one.

    Raises:
        MaskDCPTError: The network cannot be asked what the settings ask for.
    """
    remover = open_remover(engine.model, settings, classifier, device=engine.device)
    threads = threads_for(engine.device)
    # What is being written is finished, with its sheet; then the files are closed, so that a thread
    # that reads one ends.
    with (
        ThreadPoolExecutor(threads) as readers,
        reading_by(reader) as files,
        ThreadPoolExecutor(1) as blender,
        ThreadPoolExecutor(threads) as writers,
    ):
        run = _Run(engine, settings, existing, files, remover, blender=blender, writers=writers)
        writing: deque[Future[Outcome]] = deque()
        try:
            reads = prefetch(readers, run.read, run.count(jobs), ahead=threads, room=run.room)
            for job, reading in reads:
                writing.append((yield from run.restore(job, reading.result())))
                while writing and (len(writing) > threads or writing[0].done() or not run.room()):
                    yield writing.popleft().result()
            while writing:
                yield writing.popleft().result()
        finally:
            readers.shutdown(wait=False, cancel_futures=True)


class _Loaded(NamedTuple):
    """A photo that has been read, and its pages prepared for the network."""

    photo: Photo
    pages: tuple[PreparedPage, ...]

    @property
    def bytes(self) -> int:
        """The memory of its pixels and of their result."""
        arrays = [array for page in self.photo.pages for array in (page.pixels, page.alpha)]
        return 2 * sum(array.nbytes for array in arrays if array is not None)


class _Run:
    """The steps of one photo after another: read, restore and write."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        existing: Existing,
        reader: PhotoReader,
        remover: Remover,
        *,
        blender: ThreadPoolExecutor,
        writers: ThreadPoolExecutor,
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.existing = existing
        self.made_by = fingerprint(engine.model, settings, remover.classifier)
        self.reader = reader
        self.remover = remover
        self.blender = blender
        self.writers = writers
        self._in_flight = InFlight()
        self.room = self._in_flight.room
        self._last: Future[Outcome] | None = None  # the photo that was written last, or is
        self._blends: list[Future[None]] = []  # of the photo before

    def count(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Yield the jobs, counted as in flight."""
        for job in jobs:
            self._in_flight.begin(job, file_bytes=_file_bytes(job))
            yield job

    def read(self, job: Job) -> _Loaded | Outcome:
        known = existing_result(job, self.made_by, self.existing)
        loaded = known or _read(job, self.settings, self.reader, self.remover)
        self._in_flight.measured(job, loaded.bytes if isinstance(loaded, _Loaded) else 0)
        return loaded

    def restore(
        self, job: Job, loaded: _Loaded | Outcome
    ) -> Generator[Event, None, Future[Outcome]]:
        """Restore a photo and begin to write it; return its outcome, once it is written."""
        if isinstance(loaded, Outcome):
            return self._finished(loaded)
        yield Started(job, _area(loaded.photo))
        restored = yield from _restore_photo(self.engine, job, loaded, self.settings, self.blender)
        if isinstance(restored, Outcome):
            return self._finished(restored)
        wait(self._blends)  # or bands of many photos would stay on the device
        self._blends = [blend for page in restored for blend in page.blends]
        try:
            job.target.parent.mkdir(parents=True, exist_ok=True)
            begin(job, made_by=self.made_by)
        except OSError as error:
            return self._finished(_failed(job, loaded.photo, restored, str(error)))
        self._last = self.writers.submit(self._write, job, loaded.photo, restored, self._last)
        return self._last

    def _write(
        self, job: Job, photo: Photo, restored: list[RestoredPage], before: Future[Outcome] | None
    ) -> Outcome:
        try:
            return _write(
                job, photo, restored,
                settings=self.settings, made_by=self.made_by, before=before, reader=self.reader,
            )  # fmt: skip
        finally:
            self._in_flight.end(job)

    def _finished(self, outcome: Outcome) -> Future[Outcome]:
        self._in_flight.end(outcome.job)
        future: Future[Outcome] = Future()
        future.set_result(outcome)
        return future


class _Steps(Generic[Result]):
    """The steps of a generator; what it returns is the `result` once they are exhausted."""

    result: Result

    def __init__(self, steps: Generator[int, None, Result]) -> None:
        self.steps = steps

    def __iter__(self) -> Iterator[int]:
        self.result = yield from self.steps


def _restore_photo(
    engine: Engine, job: Job, loaded: _Loaded, settings: Settings, worker: ThreadPoolExecutor
) -> Generator[Advanced, None, list[RestoredPage] | Outcome]:
    restored: list[RestoredPage] = []
    try:
        for page in loaded.pages:
            steps = _Steps(restore_page(engine, page, settings, worker))
            for pixels in steps:
                yield Advanced(job, pixels)
            restored.append(steps.result)
    except (MaskDCPTError, RuntimeError) as error:  # inference runtimes raise RuntimeError
        return _failed(job, loaded.photo, [], str(error).strip())
    return restored


def _read(job: Job, settings: Settings, reader: PhotoReader, remover: Remover) -> _Loaded | Outcome:
    try:
        photo = reader.read(job.source, max_pixels=settings.max_pixels)
    except ImageError as error:
        return Outcome(job, "failed", str(error))
    turn = photo.metadata.orientation
    try:
        pages = [prepare(page, photo.colour, remover, orientation=turn) for page in photo.pages]
    except (MemoryError, RuntimeError) as error:  # of the classifier
        return _failed(job, photo, [], str(error).strip() or type(error).__name__)
    return _Loaded(photo, tuple(pages))


def _write(
    job: Job,
    photo: Photo,
    restored: list[RestoredPage],
    *,
    settings: Settings,
    made_by: str,
    before: Future[Outcome] | None,
    reader: PhotoReader,
) -> Outcome:
    """Write a photo, and record it after the one before: the log has the order of the jobs."""
    reason = next((page.reason for page in restored if page.reason), None)
    try:
        finished = [page.finished() for page in restored]
        losses = write_photo(
            photo,
            finished,
            job.target,
            quality=settings.quality,
            strip=settings.strip,
        )
        if before is not None:
            wait([before])
        record(job, made_by=made_by)
    except (
        MaskDCPTError,
        OSError,
        RuntimeError,
        MemoryError,
    ) as error:
        return _failed(job, photo, restored, str(error).strip() or type(error).__name__)
    notices = [*_notices(photo, restored), *losses]
    if settings.compare:
        notices += _compare(job, settings, reader)
    return Outcome(
        job,
        "unrestored" if reason else "restored",
        reason,
        tuple(dict.fromkeys(notices)),
        _area(photo),
        sum(page.seconds for page in restored),
        found=_union(page.found for page in restored),
        removed=_union(page.removed for page in restored),
    )


def _failed(job: Job, photo: Photo, restored: list[RestoredPage], reason: str) -> Outcome:
    return Outcome(job, "failed", reason, tuple(_notices(photo, restored)), _area(photo))


def _notices(photo: Photo, restored: list[RestoredPage]) -> list[str]:
    return [*photo.notices, *(notice for page in restored for notice in page.notices)]


def _file_bytes(job: Job) -> int:
    try:
        return job.source.stat().st_size
    except OSError:  # which reading reports
        return 0


def _compare(job: Job, settings: Settings, reader: PhotoReader) -> tuple[str, ...]:
    """Write the before/after sheet; return a notice where that fails, for the result exists."""
    try:
        write_sheet(job.source, job.target, max_pixels=settings.max_pixels, reader=reader)
    except ImageError as error:
        return (f"No before/after sheet: {error}",)
    return ()


def _area(photo: Photo) -> int:
    return sum(page.pixels.shape[0] * page.pixels.shape[1] for page in photo.pages)


def _union(of_pages: Iterable[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    known = [types for types in of_pages if types is not None]
    return tuple(dict.fromkeys(chain(*known))) if known else None


def _with_removal(
    settings: Settings | None, remove: Remove | None, keep: tuple[str, ...] | None
) -> Settings:
    """Return settings with what the arguments of `restore` say in their place."""
    given = settings or Settings()
    return replace(
        given,
        remove=given.remove if remove is None else remove,
        keep=given.keep if keep is None else keep,
    )


def _engine(model: Backbone | Engine) -> Engine:
    return open_engine(model) if isinstance(model, Backbone) else model
