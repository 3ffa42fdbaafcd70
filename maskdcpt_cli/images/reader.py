"""Reading of image files in processes of their own, so that no file ends or stops the program."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.files import shown
from maskdcpt_cli.images import reading
from maskdcpt_cli.images.colour import colour_of
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.images.photo import Header, Metadata, Page, Photo
from maskdcpt_cli.images.workers import Closable, WorkerLost, WorkerPool, lent

Result = TypeVar("Result")


class PhotoReader(Closable):
    """Reads image files as `images.reading` does, in processes of their own.

    A file whose decoder hangs, crashes, or needs more time or memory than an image of its size
    raises ImageError, as an unreadable one does. Any number of threads may read at a time; closing
    the reader ends what is being read.
    """

    def __init__(self) -> None:
        self._workers = WorkerPool(reading.__name__)

    def start(self) -> "PhotoReader":
        """Start a process ahead, which takes 0.3 s, and return the reader."""
        self._workers.start()
        return self

    def close(self) -> None:
        """End the processes; reading raises ImageError from now on."""
        self._workers.close()

    def probe(self, path: Path) -> Header:
        """Return the header of an image file, as `images.reading.probe` does."""
        return self._call(reading.probe, path)

    def read(self, path: Path, *, max_pixels: int | None = MAX_PIXELS) -> Photo:
        """Read an image file, as `images.reading.read_photo` does."""
        word, pages, metadata, notices = self._call(_read, path, max_pixels=max_pixels)
        colour, _ = colour_of(metadata.icc, pages[0].pixels)
        return Photo(path, word, pages, colour, metadata, notices)

    def preview(
        self, path: Path, *, max_side: int | None, max_pixels: int | None = MAX_PIXELS
    ) -> NDArray[np.uint8]:
        """Return a preview of an image file, as `images.reading.preview` does."""
        return self._call(reading.preview, path, max_side=max_side, max_pixels=max_pixels)

    def _call(self, read: Callable[..., Result], path: Path, **options: int | None) -> Result:
        try:
            return self._workers.call(read, path, **options)
        except WorkerLost as error:
            if error.file or self._workers.is_closed:
                raise
            raise ImageError(f"Cannot read '{shown(path)}': {error}") from error
        except (OSError, MemoryError) as error:  # of this process, not of the one that reads
            reason = getattr(error, "strerror", None) or "there is not enough memory"
            raise ImageError(f"Cannot read '{shown(path)}': {reason}.") from error


def _read(
    path: Path, *, max_pixels: int | None
) -> tuple[str, tuple[Page, ...], Metadata, tuple[str, ...]]:
    """Read an image file; its colour, which holds handles of LittleCMS, cannot be sent."""
    photo = reading.read_photo(path, max_pixels=max_pixels)
    return photo.format, photo.pages, photo.metadata, photo.notices


def reading_by(reader: PhotoReader | None) -> AbstractContextManager[PhotoReader]:
    """Return a context of the reader, or of a new one, as `workers.lent` does."""
    return lent(reader, PhotoReader)
