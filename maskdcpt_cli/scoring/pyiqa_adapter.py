"""Open metrics, or the reason why one is not available; the only entry point to pyiqa."""

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
from torch import Tensor

from maskdcpt_cli.plugins import resolve
from maskdcpt_cli.scoring.events import Unavailable
from maskdcpt_cli.scoring.metrics import METRICS
from maskdcpt_cli.scoring.protocols import Protocol

TIMEOUT = 20.0  # seconds without an answer before a download fails

Measure = Callable[..., Any]


class MissingFile(NamedTuple):
    """File that could not be downloaded."""

    url: str
    path: Path  # to save it as


class PluginMetric:
    """A metric of a plugin: a function of images (1, 3, H, W) in [0, 1] on a device."""

    def __init__(self, function: str, device: str) -> None:
        self._function, self._device = resolve(function), device

    def __call__(self, *images: Tensor) -> Any:
        with torch.inference_mode():
            return self._function(*(image.to(self._device) for image in images))


def open_metric(name: str, *, protocol: Protocol, device: str) -> Measure | Unavailable:
    """Open the metric of this name, a plugin's or pyiqa's.

    Weights that are not in pyiqa's cache are downloaded.
    """
    if name in METRICS and METRICS[name].function:
        return PluginMetric(METRICS[name].function, device)
    with quiet(), _download_timeout():
        try:
            import pyiqa  # noqa: PLC0415  # takes seconds

            measure: Measure = pyiqa.create_metric(
                name, device=torch.device(device), **protocol.options(name)
            )
        except Exception as error:  # pyiqa raises errors of any type
            return Unavailable(name, _why(name, error))
    return measure


def duplicate(metrics: Mapping[str, Measure]) -> dict[str, Measure]:
    """Copy metrics for another thread: some of them keep their last result."""
    return copy.deepcopy(dict(metrics))


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress prints, logs and warnings of pyiqa."""
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
def _download_timeout() -> Iterator[None]:
    """Set a timeout for downloads: those of PyTorch have none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _why(name: str, error: BaseException) -> str:
    missing = failed_download(error)
    if missing is None:
        return f"{name} cannot be opened: {reason(error)}."
    return (
        f"{name} needs weights that could not be downloaded ({reason(error)}): download "
        f"{missing.url} and save it as {missing.path}."
    )


def reason(error: BaseException) -> str:
    """Return the reason of an error in a few words, without a full stop."""
    cause = getattr(error, "reason", None)  # of URLError
    cause = cause if isinstance(cause, Exception) else error
    text = str(getattr(cause, "strerror", None) or cause).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    return first.rstrip(".")


def failed_download(error: BaseException) -> MissingFile | None:
    """Return the file whose download failed; pyiqa and torchvision download by torch.hub.

    None if the error has another cause.
    """
    fetching = torch.hub.download_url_to_file.__code__
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is fetching:
            return MissingFile(frame.f_locals["url"], Path(frame.f_locals["dst"]))
    return None
