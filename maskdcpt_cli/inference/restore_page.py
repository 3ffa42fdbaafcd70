"""Restoration of one page: tiles, checks of the output, a second attempt in fp32, and colours."""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskdcpt_cli.images.arrays import Native
from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.images.reading import Page, fill_transparent
from maskdcpt_cli.inference import output_check
from maskdcpt_cli.inference.backends import Engine
from maskdcpt_cli.inference.backends.engine import Network, RestoreTile
from maskdcpt_cli.inference.backends.transfer import Mark, Transfer, transfer_to
from maskdcpt_cli.inference.events import Settings
from maskdcpt_cli.inference.input_check import is_grey, why_untouched
from maskdcpt_cli.inference.out_of_memory import unless_out_of_memory
from maskdcpt_cli.inference.page_pixels import PagePixels
from maskdcpt_cli.inference.self_ensemble import Eightfold
from maskdcpt_cli.inference.tile_size import choose_overlap, choose_samples, choose_tile
from maskdcpt_cli.inference.tiling import Band, Progress, Step, TileSizeReduced, restore_tiles

Result = TypeVar("Result")
BLENDED = 1 << 20  # pixels blended at a time, which bounds the memory for it


@dataclass(frozen=True)
class RestoredPage:
    """A page after the network, or unchanged, with the reason."""

    page: Page
    seconds: float = 0.0  # in the network
    notices: tuple[str, ...] = ()
    reason: str | None = None  # the output of the network failed its check
    blends: tuple[Future[None], ...] = ()  # still to be blended into the page

    def finished(self) -> Page:
        """Return the page once all its bands are blended."""
        for blend in self.blends:
            blend.result()
        return self.page


@dataclass(frozen=True)
class PreparedPage:
    """A page, and what the network gets of it."""

    page: Page
    source: Native  # its pixels, with the hidden ones filled; one channel of neutral RGB
    colour: Colour
    untouched: str | None = None  # a sentence saying why the page is left unchanged


def prepare(page: Page, colour: Colour) -> PreparedPage:
    """Return a page prepared for `restore_page`, which takes time but no device."""
    source = fill_transparent(page)
    if untouched := why_untouched(source):
        return PreparedPage(page, source, colour, untouched)
    if source.shape[2] == 3 and is_grey(source):
        source, colour = source[..., :1], colour.of_neutral()
    return PreparedPage(page, source, colour)


def restore_page(
    engine: Engine, prepared: PreparedPage, settings: Settings, worker: ThreadPoolExecutor
) -> Generator[int, None, RestoredPage]:
    """Yield numbers of restored pixels, negative where an attempt is given up; return the page.

    The worker blends finished bands while the network continues.
    """
    page, source = prepared.page, prepared.source
    if prepared.untouched:
        yield source.shape[0] * source.shape[1]
        return RestoredPage(page, notices=(prepared.untouched,))
    transfer = transfer_to(engine.device)
    target = _Target(page, PagePixels(source, prepared.colour, settings.strength, transfer))
    first = yield from _attempt(engine, target, settings, worker)
    if first.reason is None or engine.precision == "fp32":
        return first
    again = yield from _attempt(engine.in_fp32(), target, settings, worker)
    return replace(
        again, seconds=first.seconds + again.seconds, notices=first.notices + again.notices
    )


@dataclass(frozen=True)
class _Target:
    """A page to restore, and its pixels, with the hidden ones filled."""

    page: Page
    pixels: PagePixels

    def blend(self, into: Native, band: Band, mark: Mark) -> None:
        """Write the band in the colours of the file; fully transparent pixels stay unchanged."""
        step = max(1, BLENDED // band.restored.shape[2])
        for top in range(band.rows.start, band.rows.stop, step):
            rows = slice(top, min(top + step, band.rows.stop))
            part = slice(rows.start - band.rows.start, rows.stop - band.rows.start)
            into[rows] = self._blended(Band(rows, band.restored[:, part]), mark)

    def _blended(self, band: Band, mark: Mark) -> Native:
        blended = unless_out_of_memory(partial(self.pixels.restored, band, mark))
        if blended is None:
            on_cpu = replace(band, restored=band.restored.cpu())
            blended = self.pixels.on_cpu().restored(on_cpu, None)
        if self.page.alpha is not None:
            hidden = self.page.alpha[band.rows, :, None] == 0
            blended = np.where(hidden, self.page.pixels[band.rows], blended)
        return blended


def _attempt(
    engine: Engine, target: _Target, settings: Settings, worker: ThreadPoolExecutor
) -> Generator[int, None, RestoredPage]:
    """Restore a page with one engine; the page unchanged, with the reason, where a check fails."""
    transfer = target.pixels.transfer
    network = _CheckedNetwork(Eightfold(engine) if settings.tta else engine, transfer)
    result = Page(np.empty_like(target.page.pixels), target.page.alpha)
    done, notices, blends = 0, list[str](), list[Future[None]]()
    try:
        for step in _steps(network, engine, target, settings):
            match step:
                case Progress():
                    done += step.pixels
                    yield step.pixels
                case Band():
                    mark = transfer.mark()
                    blends.append(worker.submit(target.blend, result.pixels, step, mark))
                case TileSizeReduced():
                    notices.append(
                        f"Out of memory with tiles of {step.tile} pixels: "
                        f"continued with {step.smaller}."
                    )
        network.check_last()
        notices += engine.notices
        engine.notices.clear()
    except _UnsoundError as unsound:
        yield -done
        return RestoredPage(target.page, network.seconds, tuple(notices), str(unsound))
    return RestoredPage(result, network.seconds, tuple(notices), blends=tuple(blends))


def _steps(network: Network, engine: Engine, target: _Target, settings: Settings) -> Iterator[Step]:
    size = (target.pixels.source.shape[0], target.pixels.source.shape[1])
    tile = choose_tile(engine, size) if settings.tile is None else settings.tile
    overlap = choose_overlap(tile) if settings.overlap is None else settings.overlap
    return restore_tiles(
        network,
        target.pixels.read,
        size,
        tile=tile,
        overlap=overlap,
        multiple=engine.size_multiple,
        pad=engine.pad,
        samples=choose_samples(engine),
    )


class _UnsoundError(Exception):
    """The output of the network failed its check."""


class _CheckedNetwork:
    """A network whose outputs are checked and whose passes are timed.

    A pass is checked when the next one is queued, so that the device need not wait for the check.
    """

    def __init__(self, network: Network, transfer: Transfer) -> None:
        self.network = network
        self.transfer = transfer
        self.seconds = 0.0
        self._unchecked: Callable[[], NDArray[np.float32]] | None = None

    def __call__(self, lq: Tensor) -> Tensor:
        return self._checked(lq, partial(self.network, lq))

    def record(self, tiles: Tensor, boxes: Tensor) -> RestoreTile:
        restore = self._timed(partial(self.network.record, tiles, boxes))
        return lambda lq, box: self._checked(lq, partial(restore, lq, box))

    def check_last(self) -> None:
        """Wait for the last pass that was not checked, and check its output."""
        if self._unchecked is None:
            return
        summary = self._timed(self._unchecked)
        self._unchecked = None
        if reason := output_check.judge(torch.from_numpy(summary)):
            raise _UnsoundError(reason)

    def _checked(self, lq: Tensor, run: Callable[[], Tensor]) -> Tensor:
        restored = self._timed(run)
        unchecked = self.transfer.fetch(output_check.summary(lq, restored))
        self.check_last()
        self._unchecked = unchecked
        return restored

    def _timed(self, run: Callable[[], Result]) -> Result:
        began = perf_counter()
        result = run()
        self.seconds += perf_counter() - began
        return result
