"""The only door to pyiqa: a metric, ready to measure, or the reason why it cannot be."""

import contextlib
import copy
import io
import logging
import socket
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from maskdcpt_cli.scoring.events import Unavailable
from maskdcpt_cli.scoring.protocols import Protocol

PATIENCE = 20.0  # seconds that a server may be silent before weights count as out of reach

Measure = Callable[..., Any]


class MissingFile(NamedTuple):
    """A file that could not be fetched."""

    url: str
    path: Path  # to save it as


def open_metric(name: str, *, protocol: Protocol, device: str) -> Measure | Unavailable:
    """pyiqa's metric of this name; its weights are fetched when they are not in its cache."""
    with quiet(), _impatient():
        try:
            import pyiqa  # noqa: PLC0415  # takes seconds

            measure: Measure = pyiqa.create_metric(
                name, device=torch.device(device), **protocol.options(name)
            )
        except Exception as error:  # the parts of pyiqa raise what they like
            return Unavailable(name, _why(name, error))
    return measure


def duplicate(metrics: Mapping[str, Measure]) -> dict[str, Measure]:
    """Metrics of one's own: some keep what they computed last."""
    return copy.deepcopy(dict(metrics))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what pyiqa prints, logs and warns of to itself."""
    logger = logging.getLogger("pyiqa")
    before = logger.disabled
    logger.disabled = True
    sink = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(sink),
            contextlib.redirect_stderr(sink),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


@contextmanager
def _impatient() -> Iterator[None]:
    """Give up on servers that do not answer: the downloads of PyTorch wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _why(name: str, error: BaseException) -> str:
    missing = not_fetched(error)
    if missing is None:
        return f"{name} cannot be opened: {reason(error)}."
    return (
        f"{name} needs weights that could not be fetched ({reason(error)}): download "
        f"{missing.url} and save it as {missing.path}."
    )


def reason(error: BaseException) -> str:
    """What went wrong, in a few words without a full stop."""
    cause = getattr(error, "reason", None)  # of URLError
    cause = cause if isinstance(cause, Exception) else error
    text = str(getattr(cause, "strerror", None) or cause).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    return first.rstrip(".")


def not_fetched(error: BaseException) -> MissingFile | None:
    """The file in whose download an error arose; both pyiqa and torchvision fetch by torch.hub."""
    fetching = torch.hub.download_url_to_file.__code__
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is fetching:
            return MissingFile(frame.f_locals["url"], Path(frame.f_locals["dst"]))
    return None
