"""The steps of one photo: read it, restore its pages, write the result."""

import shutil
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from maskdcpt_cli.errors import ImageError, words_of
from maskdcpt_cli.files import open_regular, shown, written
from maskdcpt_cli.images.contact_sheets import write_sheet
from maskdcpt_cli.images.formats import WRITABLE, format_of
from maskdcpt_cli.images.photo import Photo
from maskdcpt_cli.images.reader import PhotoReader
from maskdcpt_cli.images.writing import first_page_notice, write_photo
from maskdcpt_cli.inference.backends import Engine
from maskdcpt_cli.inference.events import Advanced, Job, Outcome, Settings
from maskdcpt_cli.inference.removal import Remover
from maskdcpt_cli.inference.restore_page import (
    PreparedPage,
    RestoredPage,
    Steps,
    prepare,
    restore_page,
)
from maskdcpt_cli.inference.result_log import FileState, file_state, record


class LoadedPhoto(NamedTuple):
    """A photo that has been read, and its pages prepared for the network."""

    photo: Photo
    pages: tuple[PreparedPage, ...]
    source: FileState  # of its file, before it was read

    @property
    def bytes(self) -> int:
        """The memory of its pixels and of their result."""
        arrays = [array for page in self.photo.pages for array in (page.pixels, page.alpha)]
        return 2 * sum(array.nbytes for array in arrays if array is not None)


def load(
    job: Job, settings: Settings, reader: PhotoReader, remover: Remover
) -> LoadedPhoto | Outcome:
    """Read a photo and decide what is to be removed from its pages."""
    try:
        source = file_state(job.source)
        photo = _fitted(reader.read(job.source, max_pixels=settings.max_pixels), job.target)
    except ImageError as error:
        return Outcome(job, "failed", str(error))
    except OSError as error:
        return Outcome(job, "failed", f"Cannot read '{shown(job.source)}': {error.strerror}.")
    turn = photo.metadata.orientation
    try:
        pages = [prepare(page, photo.colour, remover, orientation=turn) for page in photo.pages]
    except Exception as error:  # of the classifier, of OpenCV
        return failed(job, photo, [], words_of(error))
    return LoadedPhoto(photo, tuple(pages), source)


def _fitted(photo: Photo, target: Path) -> Photo:
    """Return a photo with the pages that the format of its result holds; a notice of the others."""
    word = format_of(target.suffix)
    if len(photo.pages) == 1 or word is None or WRITABLE[word].pages:
        return photo
    notice = first_page_notice(word, len(photo.pages))
    return replace(photo, pages=photo.pages[:1], notices=(*photo.notices, notice))


def restore_photo(
    engine: Engine, job: Job, loaded: LoadedPhoto, settings: Settings, worker: ThreadPoolExecutor
) -> Generator[Advanced, None, list[RestoredPage] | Outcome]:
    """Restore the pages of a photo one after another."""
    restored: list[RestoredPage] = []
    try:
        for page in loaded.pages:
            steps = Steps(restore_page(engine, page, settings, worker))
            for pixels in steps:
                yield Advanced(job, pixels)
            restored.append(steps.result)
    except Exception as error:  # of an inference runtime, of OpenCV
        return failed(job, loaded.photo, [], words_of(error))
    return restored


def write(
    job: Job,
    photo: Photo,
    restored: Sequence[RestoredPage],
    *,
    source: FileState,
    settings: Settings,
    made_by: str,
    before: Future[Outcome] | None,
    reader: PhotoReader,
) -> Outcome:
    """Write a photo, and record it after the one before: the log has the order of the jobs.

    `source` is the state of its file as it was read.
    """
    reason = unsound(photo, restored)
    try:
        notices = _write(job, photo, restored, source, settings)
        if before is not None:
            wait([before])
        record(job, source, made_by=made_by, unrestored=reason)
    except Exception as error:  # of a disk, an encoder, OpenCV
        return failed(job, photo, restored, words_of(error))
    if settings.compare:
        notices += add_sheet(job, settings, reader)
    return Outcome(
        job,
        "unrestored" if reason else "restored",
        reason,
        tuple(dict.fromkeys(notices)),
        area_of(photo),
        sum(page.seconds for page in restored),
        found=_union(page.found for page in restored),
        removed=_union(page.removed for page in restored),
    )


def failed(job: Job, photo: Photo, restored: Sequence[RestoredPage], reason: str) -> Outcome:
    """Return the outcome of a photo that was read, and has no result."""
    return Outcome(job, "failed", reason, tuple(_notices(photo, restored)), area_of(photo))


def unsound(photo: Photo, restored: Sequence[RestoredPage]) -> str | None:
    """Return why the output of pages failed its check; None where none did."""
    reasons = _by_page(photo, [[page.reason] if page.reason else [] for page in restored])
    return "; ".join(reasons) or None


def area_of(photo: Photo) -> int:
    """Return the pixels of all pages."""
    return sum(page.pixels.shape[0] * page.pixels.shape[1] for page in photo.pages)


def _write(
    job: Job,
    photo: Photo,
    restored: Sequence[RestoredPage],
    source: FileState,
    settings: Settings,
) -> list[str]:
    """Write the result; return the notices."""
    same_file = format_of(job.target.suffix) == photo.format and settings.quality is None
    if all(page.is_unchanged for page in restored) and same_file and not settings.strip:
        with open_regular(job.source) as file, written(job.target) as copy:
            shutil.copyfileobj(file, copy)  # encoded again, a JPEG would lose quality
            if file_state(job.source) != source:
                raise ImageError(f"'{shown(job.source)}' has changed since it was read.")
        return _by_page(photo, [page.notices for page in restored])
    pages = [page.finished() for page in restored]
    losses = write_photo(photo, pages, job.target, quality=settings.quality, strip=settings.strip)
    notices = [*_notices(photo, restored), *losses]
    left = [number for number, page in enumerate(restored, 1) if page.is_left]
    if 0 < len(left) < len(restored):
        numbers = ", ".join(map(str, left))
        notices.append(
            f"Nothing to remove was found in {len(left)} of its {len(restored)} pages, left as "
            f"they are: {numbers}."
        )
    return notices


def _notices(photo: Photo, restored: Sequence[RestoredPage]) -> list[str]:
    return [*photo.notices, *_by_page(photo, [page.notices for page in restored])]


def _by_page(photo: Photo, of_pages: Sequence[Sequence[str]]) -> list[str]:
    """Return the messages of pages, with the numbers of their pages where not all have them."""
    numbers: dict[str, list[int]] = {}
    for number, some in enumerate(of_pages, 1):
        for message in dict.fromkeys(some):
            numbers.setdefault(message, []).append(number)
    named = []
    for message, of_message in numbers.items():
        pages = ", ".join(map(str, of_message))
        word = "Page" if len(of_message) == 1 else "Pages"
        is_of_all = len(of_message) == len(photo.pages)
        named.append(message if is_of_all else f"{word} {pages}: {message}")
    return named


def add_sheet(job: Job, settings: Settings, reader: PhotoReader) -> tuple[str, ...]:
    """Write the before/after sheet; return a notice where that fails, for the result exists."""
    try:
        write_sheet(job.source, job.target, max_pixels=settings.max_pixels, reader=reader)
    except Exception as error:  # of a disk, OpenCV
        return (f"No before/after sheet: {words_of(error)}",)
    return ()


def _union(of_pages: Iterable[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    known = [types for types in of_pages if types is not None]
    return tuple(dict.fromkeys(chain(*known))) if known else None
