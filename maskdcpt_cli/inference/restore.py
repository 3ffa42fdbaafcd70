"""Restoration of an image in memory, or of files while others are read and written."""

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.errors import ImageError, MaskDCPTError
from maskdcpt_cli.files import shown
from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.images.contact_sheets import write_sheet
from maskdcpt_cli.images.reader import PhotoReader, reading_by
from maskdcpt_cli.images.reading import Photo, page_from_array
from maskdcpt_cli.images.writing import write_photo
from maskdcpt_cli.inference.backends import Engine, open_engine
from maskdcpt_cli.inference.events import Advanced, Event, Job, Outcome, Settings, Started
from maskdcpt_cli.inference.plan import plan
from maskdcpt_cli.inference.prefetch import prefetch
from maskdcpt_cli.inference.restore_page import RestoredPage, restore_page
from maskdcpt_cli.inference.result_log import begin, fingerprint, is_current, record
from maskdcpt_cli.models import Backbone

Existing = Literal["skip", "overwrite", "error"]
Pixels = NDArray[Any]
Result = TypeVar("Result")


def restore(model: Backbone | Engine, image: Pixels, *, settings: Settings | None = None) -> Pixels:
    """Restore one image in memory.

    Args:
        model: A network, as `load_model` or `open_engine` returns it.
        image: sRGB, (H, W) or (H, W, C) with C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha;
            uint8, uint16, or float32 in [0, 1].
        settings: Tiles, strength and self-ensemble; the rest concerns files. None: the defaults.

    Returns:
        The restored image, of the same shape and dtype, with the alpha of the input.

    Raises:
        ImageError: `image` has another shape or dtype, or the output of the network failed its
            check.
        BackendError: There is not enough memory even for the smallest tile.
        MaskDCPTError: The overlap is not less than half a tile.
    """
    page = page_from_array(image)
    with ThreadPoolExecutor(1) as worker:
        steps = _Steps(restore_page(_engine(model), page, Colour(), settings or Settings(), worker))
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
    settings: Settings | None = None,
    existing: Existing = "skip",
) -> Iterator[Outcome]:
    """Restore the photos of a folder and its subfolders into `out`, with the same tree.

    A photo that fails does not stop the others. Closing the iterator stops cleanly.

    Args:
        model: A network, as `load_model` or `open_engine` returns it.
        folder: The folder of the photos.
        out: The folder of the results; created where it does not exist.
        settings: Settings of restoring and writing. None: the defaults.
        existing: What to do where a target exists: "skip" keeps a result of the same weights and
            settings and fails on any other file, "overwrite" replaces it, "error" fails.

    Returns:
        An iterator of one `Outcome` per photo; `failed` ones say why.

    Raises:
        MaskDCPTError: There is nothing to restore.
    """
    planned = plan([str(folder)], Path(out), model="")
    yield from planned.problems
    events = restore_files(_engine(model), planned.jobs, settings or Settings(), existing=existing)
    with closing(events):
        yield from (event for event in events if isinstance(event, Outcome))


def restore_files(
    engine: Engine,
    jobs: Iterable[Job],
    settings: Settings,
    *,
    existing: Existing = "skip",
    reader: PhotoReader | None = None,
) -> Generator[Event, None, None]:
    """Restore files one by one; each job ends in exactly one Outcome.

    While a photo is in the network, the next one is read and the previous one is written. Results
    are written atomically. Where a target exists, `skip` keeps a result of the same weights,
    settings and source, `overwrite` replaces it, and everything else is a failure. Files are read
    by `reader`; None opens one.
    """
    made_by = fingerprint(engine.model, settings)

    def read(job: Job) -> Photo | Outcome:
        return _existing_result(job, made_by, existing) or _read(job, settings, files)

    # The files are closed first: a thread that reads one ends then.
    with (
        ThreadPoolExecutor(1) as reading_thread,
        ThreadPoolExecutor(1) as writer,
        reading_by(reader) as files,
    ):
        writing: deque[Future[Outcome]] = deque()
        for job, reading in prefetch(reading_thread, read, jobs):
            photo = reading.result()
            if isinstance(photo, Outcome):
                yield photo
                continue
            yield Started(job, _area(photo))
            restored = yield from _restore_photo(engine, job, photo, settings, writer)
            if isinstance(restored, Outcome):
                yield restored
                continue
            writing.append(
                writer.submit(_write, job, photo, restored, settings, made_by, reader=files)
            )
            while len(writing) > 1 or (writing and writing[0].done()):
                yield writing.popleft().result()
        for written in writing:
            yield written.result()


class _Steps(Generic[Result]):
    """The steps of a generator; what it returns is the `result` once they are exhausted."""

    result: Result

    def __init__(self, steps: Generator[int, None, Result]) -> None:
        self.steps = steps

    def __iter__(self) -> Iterator[int]:
        self.result = yield from self.steps


def _restore_photo(
    engine: Engine, job: Job, photo: Photo, settings: Settings, worker: ThreadPoolExecutor
) -> Generator[Advanced, None, list[RestoredPage] | Outcome]:
    restored: list[RestoredPage] = []
    try:
        for page in photo.pages:
            steps = _Steps(restore_page(engine, page, photo.colour, settings, worker))
            for pixels in steps:
                yield Advanced(job, pixels)
            restored.append(steps.result)
    except (MaskDCPTError, RuntimeError) as error:  # inference runtimes raise RuntimeError
        return Outcome(job, "failed", str(error).strip(), photo.notices, _area(photo))
    return restored


def _existing_result(job: Job, made_by: str, existing: Existing) -> Outcome | None:
    """Return the outcome of a job whose target exists; None where it is to be restored."""
    if existing == "overwrite" or not os.path.lexists(job.target):
        return None
    if existing == "error":
        return Outcome(
            job, "failed", f"'{shown(job.target)}' exists; --existing overwrite replaces it."
        )
    if is_current(job, made_by=made_by):
        return Outcome(job, "skipped")
    reason = (
        f"'{shown(job.target)}' exists and is not this model's result with these settings; "
        "--existing overwrite replaces it."
    )
    return Outcome(job, "failed", reason)


def _read(job: Job, settings: Settings, reader: PhotoReader) -> Photo | Outcome:
    try:
        return reader.read(job.source, max_pixels=settings.max_pixels)
    except ImageError as error:
        return Outcome(job, "failed", str(error))


def _write(
    job: Job,
    photo: Photo,
    restored: list[RestoredPage],
    settings: Settings,
    made_by: str,
    *,
    reader: PhotoReader,
) -> Outcome:
    notices = [*photo.notices, *(notice for page in restored for notice in page.notices)]
    reason = next((page.reason for page in restored if page.reason), None)
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        finished = [page.finished() for page in restored]
        begin(job, made_by=made_by)
        notices += write_photo(
            photo,
            finished,
            job.target,
            quality=settings.quality,
            strip=settings.strip,
        )
        record(job, made_by=made_by)
    except (ImageError, OSError) as error:
        return Outcome(job, "failed", str(error), tuple(notices), _area(photo))
    if settings.compare:
        notices += _compare(job, settings, reader)
    return Outcome(
        job,
        "unrestored" if reason else "restored",
        reason,
        tuple(dict.fromkeys(notices)),
        _area(photo),
        sum(page.seconds for page in restored),
    )


def _compare(job: Job, settings: Settings, reader: PhotoReader) -> tuple[str, ...]:
    """Write the before/after sheet; return a notice where that fails, for the result exists."""
    try:
        write_sheet(job.source, job.target, max_pixels=settings.max_pixels, reader=reader)
    except ImageError as error:
        return (f"No before/after sheet: {error}",)
    return ()


def _area(photo: Photo) -> int:
    return sum(page.pixels.shape[0] * page.pixels.shape[1] for page in photo.pages)


def _engine(model: Backbone | Engine) -> Engine:
    return open_engine(model) if isinstance(model, Backbone) else model
