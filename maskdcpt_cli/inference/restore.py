"""Restoration of an image in memory, or of files while others are read and written."""

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.files import shown
from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.images.contact_sheets import sheet_of
from maskdcpt_cli.images.reader import PhotoReader, reading_by
from maskdcpt_cli.images.reading import Photo, page_from_array
from maskdcpt_cli.inference.backends import Engine, open_engine
from maskdcpt_cli.inference.backends.exported import ExportedNetwork
from maskdcpt_cli.inference.events import Event, Job, Outcome, Remove, Settings, Started
from maskdcpt_cli.inference.plan import plan
from maskdcpt_cli.inference.prefetch import InFlight, prefetch, threads_for
from maskdcpt_cli.inference.removal import Remover, check_removal, open_remover
from maskdcpt_cli.inference.restore_page import RestoredPage, Steps, prepare, restore_page
from maskdcpt_cli.inference.restore_photo import (
    LoadedPhoto,
    add_sheet,
    area_of,
    failed,
    load,
    restore_photo,
    unsound,
    write,
)
from maskdcpt_cli.inference.result_log import (
    Existing,
    FileState,
    begin,
    existing_result,
    fingerprint,
)
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.weights.building import DegradationClassifier

Pixels = NDArray[Any]


def restore(
    model: Backbone | ExportedNetwork | Engine,
    image: Pixels,
    *,
    remove: Remove | None = None,
    keep: tuple[str, ...] | None = None,
    classifier: DegradationClassifier | None = None,
    settings: Settings | None = None,
) -> Pixels:
    """Restore one image in memory.

    Args:
        model: A network, as `load_model`, `load_exported` or `open_engine` returns it.
        image: sRGB, (H, W) or (H, W, C) with C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha;
            uint8, uint16, or float32 in [0, 1].
        remove: What a request-conditioned model removes: "auto" what the classifier finds, "all"
            all that the model knows, or types, as ("noise", "jpeg"). None: as `settings` say.
        keep: Types that "auto" and "all" do not remove. None: as `settings` say.
        classifier: The classifier of "auto", and of the size at which named rain, snow, drops and
            blur are removed, as `load_classifier` returns it, used on the device of its network.
            None: the default one, on the device of the model.
        settings: Tiles, strength and self-ensemble; the rest concerns files. None: the defaults.

    Returns:
        The restored image, an array of its own of the same shape and dtype, with the alpha of the
        input; equal to the input where nothing is to be removed.

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
        steps = Steps(restore_page(engine, prepared, given, worker))
        for _pixels in steps:
            pass
    restored = steps.result
    if restored.reason:
        raise ImageError(f"The image was not restored: {restored.reason}.")
    pixels = restored.finished().pixels
    if page.alpha is not None:
        pixels = np.concatenate([pixels, page.alpha[..., None]], axis=2)
    elif restored.is_unchanged:
        pixels = pixels.copy()
    return pixels.reshape(image.shape)


def restore_folder(
    model: Backbone | ExportedNetwork | Engine,
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
        model: A network, as `load_model`, `load_exported` or `open_engine` returns it.
        folder: The folder of the photos.
        out: The folder of the results; created where it does not exist.
        remove: What a request-conditioned model removes; see `restore`.
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
    None opens one. What a request-conditioned network removes is decided while a photo is read, by
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

    def read(self, job: Job) -> LoadedPhoto | Outcome:
        loaded = self._existing(job) or load(job, self.settings, self.reader, self.remover)
        self._in_flight.measured(job, loaded.bytes if isinstance(loaded, LoadedPhoto) else 0)
        return loaded

    def restore(
        self, job: Job, loaded: LoadedPhoto | Outcome
    ) -> Generator[Event, None, Future[Outcome]]:
        """Restore a photo and begin to write it; return its outcome, once it is written."""
        if isinstance(loaded, Outcome):
            return self._finished(loaded)
        if reason := _why_unwritable(job.target.parent):
            return self._finished(failed(job, loaded.photo, [], reason))
        yield Started(job, area_of(loaded.photo))
        restored = yield from restore_photo(self.engine, job, loaded, self.settings, self.blender)
        if isinstance(restored, Outcome):
            return self._finished(restored)
        wait(self._blends)  # or bands of many photos would stay on the device
        self._blends = [blend for page in restored for blend in page.blends]
        if written_meanwhile := self._existing(job):
            return self._finished(written_meanwhile)
        try:
            begin(
                job, loaded.source, made_by=self.made_by, unrestored=unsound(loaded.photo, restored)
            )
        except OSError as error:
            reason = f"Cannot write '{shown(job.target)}': {error.strerror}."
            return self._finished(failed(job, loaded.photo, restored, reason))
        self._last = self.writers.submit(
            self._write, job, loaded.photo, restored, loaded.source, self._last
        )
        return self._last

    def _existing(self, job: Job) -> Outcome | None:
        """Return the outcome of a job whose target exists, once its sheet exists, too."""
        known = existing_result(job, self.made_by, self.existing)
        if known is None or known.status == "failed" or not self.settings.compare:
            return known
        if _is_newer(sheet_of(job.target), job.target):
            return known
        return replace(known, notices=add_sheet(job, self.settings, self.reader))

    def _write(
        self,
        job: Job,
        photo: Photo,
        restored: list[RestoredPage],
        source: FileState,
        before: Future[Outcome] | None,
    ) -> Outcome:
        try:
            return write(
                job, photo, restored, source=source,
                settings=self.settings, made_by=self.made_by, before=before, reader=self.reader,
            )  # fmt: skip
        finally:
            self._in_flight.end(job)

    def _finished(self, outcome: Outcome) -> Future[Outcome]:
        self._in_flight.end(outcome.job)
        future: Future[Outcome] = Future()
        future.set_result(outcome)
        return future


def _file_bytes(job: Job) -> int:
    try:
        return job.source.stat().st_size
    except OSError:  # which reading reports
        return 0


def _why_unwritable(folder: Path) -> str:
    """Make a folder; return why nothing can be written into it, or ""."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"Cannot create the folder '{shown(folder)}': {error.strerror}."
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"The folder '{shown(folder)}' cannot be written into."
    return ""


def _is_newer(sheet: Path, result: Path) -> bool:
    try:
        return sheet.stat().st_mtime_ns >= result.stat().st_mtime_ns
    except OSError:
        return False


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


def _engine(model: Backbone | ExportedNetwork | Engine) -> Engine:
    return open_engine(model) if isinstance(model, Backbone | ExportedNetwork) else model
