"""Restoration of one page: its passes, a second attempt in fp32, and the colours of the file."""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from maskdcpt_cli.errors import words_of
from maskdcpt_cli.images.arrays import Native
from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.images.reading import Page, fill_transparent
from maskdcpt_cli.inference.backends import Engine
from maskdcpt_cli.inference.backends.transfer import Mark, transfer_to
from maskdcpt_cli.inference.checked_network import UnsoundError
from maskdcpt_cli.inference.events import Settings
from maskdcpt_cli.inference.input_check import is_grey, why_untouched
from maskdcpt_cli.inference.out_of_memory import unless_out_of_memory
from maskdcpt_cli.inference.page_passes import PagePasses
from maskdcpt_cli.inference.page_pixels import PagePixels
from maskdcpt_cli.inference.removal import Removal, Remover
from maskdcpt_cli.inference.tiling import Band, Progress, TileSizeReduced

BLENDED = 1 << 20  # pixels blended at a time, which bounds the memory for it
PENDING = 3  # bands that are held for blending; without a network they come faster than that


Result = TypeVar("Result")


class Steps(Generic[Result]):
    """The steps of a generator; what it returns is the `result` once they are exhausted."""

    result: Result

    def __init__(self, steps: Generator[int, None, Result]) -> None:
        self.steps = steps

    def __iter__(self) -> Iterator[int]:
        self.result = yield from self.steps


@dataclass(frozen=True)
class RestoredPage:
    """A page after the network, or unchanged, with the reason."""

    page: Page
    seconds: float = 0.0  # in the network
    notices: tuple[str, ...] = ()
    reason: str | None = None  # the output of the network failed its check
    blends: tuple[Future[None], ...] = ()  # still to be blended into the page
    found: tuple[str, ...] | None = None  # types; None: not by "auto", or uncertain
    removed: tuple[str, ...] | None = None  # None: the network was not asked for types
    is_unchanged: bool = False

    @property
    def is_left(self) -> bool:
        """Return whether nothing was to be removed from it."""
        return self.removed == () and self.reason is None

    def finished(self) -> Page:
        """Return the page once all its bands are blended."""
        for blend in self.blends:
            blend.result()
        return self.page

    def following(self, first: "RestoredPage") -> "RestoredPage":
        """Return this page, which was restored from the result of the first, with what both did.

        Where its output failed a check it is the result of the first, with the reason as a notice.
        """
        notices = first.notices + self.notices
        seconds = first.seconds + self.seconds
        if self.reason:
            notices += (f"What showed in the result was not removed from it: {self.reason}.",)
            return replace(first, seconds=seconds, notices=notices)
        found, removed = (
            tuple(dict.fromkeys((*before, *(self.removed or ()))))
            for before in (first.found or (), first.removed or ())
        )
        return replace(self, seconds=seconds, notices=notices, found=found, removed=removed)


@dataclass(frozen=True)
class PreparedPage:
    """A page, and what the network gets of it."""

    page: Page
    source: Native  # its pixels, with the hidden ones filled; one channel of neutral RGB
    colour: Colour
    untouched: str | None = None  # a sentence saying why the page is left unchanged
    found: tuple[str, ...] | None = None  # types; None: not by "auto", or uncertain
    removal: Removal | None = None  # None: the network is asked for all that it can remove
    again: "Callable[[Page], PreparedPage] | None" = None  # prepares the result for another pass

    @property
    def is_left(self) -> bool:
        """Return whether the network has nothing to do."""
        return self.untouched is not None or (self.removal is not None and not self.removal.types)


def prepare(page: Page, colour: Colour, remover: Remover, *, orientation: int = 1) -> PreparedPage:
    """Return a page, with its EXIF orientation, prepared for `restore_page`.

    It takes time, and the device of the network only to classify.
    """
    source = fill_transparent(page)
    untouched = why_untouched(source, page.alpha)
    if remover.settings.strength == 0:
        untouched = "It is left as it is: the strength is 0."
    if untouched:
        return PreparedPage(page, source, colour, untouched)
    found = remover.find(page, colour, orientation=orientation)
    removal = remover.decide(found)
    of_source = colour
    if source.shape[2] == 3 and is_grey(source):
        source, of_source = source[..., :1], colour.of_neutral()
    again = None
    if after := remover.after(removal):
        again = partial(prepare, colour=colour, remover=after, orientation=orientation)
    return PreparedPage(
        page, source, of_source, found=remover.labels(found), removal=removal, again=again
    )


def restore_page(
    engine: Engine, prepared: PreparedPage, settings: Settings, worker: ThreadPoolExecutor
) -> Generator[int, None, RestoredPage]:
    """Yield numbers of restored pixels, negative where they are restored again; return the page.

    Where `prepared` says so, the result is looked at again, and what shows then is removed, too.
    The worker blends finished bands while the network continues.
    """
    first = yield from _restore_prepared(engine, prepared, settings, worker)
    if prepared.again is None or first.reason:
        return first
    done = 0
    try:
        again = prepared.again(first.finished())
        if again.is_left:
            return first
        done = -again.source.shape[0] * again.source.shape[1]
        yield done
        steps = Steps(_restore_prepared(engine, again, settings, worker))
        for pixels in steps:
            done += pixels
            yield pixels
        second = steps.result.following(first)
    except Exception as error:  # for want of memory, say; of OpenCV, too
        second = RestoredPage(first.page, reason=words_of(error).rstrip(".")).following(first)
    if done:
        yield -done
    return second


def _restore_prepared(
    engine: Engine, prepared: PreparedPage, settings: Settings, worker: ThreadPoolExecutor
) -> Generator[int, None, RestoredPage]:
    page, source = prepared.page, prepared.source
    if prepared.is_left:
        yield source.shape[0] * source.shape[1]
        why = (prepared.untouched,) if prepared.untouched else ()
        restored = RestoredPage(page, notices=why, is_unchanged=True)
    else:
        transfer = transfer_to(engine.device)
        pixels = PagePixels(source, prepared.colour, settings.strength, transfer)
        target = _Target(page, pixels, prepared.removal)
        restored = yield from _restored(engine, target, settings, worker)
    removed: tuple[str, ...] | None = None
    if prepared.removal is not None:
        types = () if restored.reason else prepared.removal.types
        removed = tuple(one for one in engine.model.requests if one in types)
    return replace(restored, found=prepared.found, removed=removed)


def _restored(
    engine: Engine, target: "_Target", settings: Settings, worker: ThreadPoolExecutor
) -> Generator[int, None, RestoredPage]:
    """Restore a page, in a second attempt in fp32 where a check of the output fails."""
    first = yield from _attempt(engine, target, settings, worker)
    if first.reason is None or engine.precision == "fp32":
        return first
    again = yield from _attempt(engine.in_fp32(), target, settings, worker)
    return replace(
        again, seconds=first.seconds + again.seconds, notices=first.notices + again.notices
    )


@dataclass(frozen=True)
class _Target:
    """A page to restore, its pixels, with the hidden ones filled, and what to remove."""

    page: Page
    pixels: PagePixels
    removal: Removal | None = None

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
    passes = PagePasses(engine, target.pixels, target.removal, settings)
    result = Page(np.empty_like(target.page.pixels), target.page.alpha)
    done, notices, blends = 0, list[str](), list[Future[None]]()
    try:
        for step in passes.steps():
            match step:
                case Progress():
                    done += step.pixels
                    yield step.pixels
                case Band():
                    mark = target.pixels.transfer.mark()
                    blends.append(worker.submit(target.blend, result.pixels, step, mark))
                    wait(blends[-PENDING : -PENDING + 1])
                case TileSizeReduced():
                    notices.append(
                        f"Out of memory with tiles of {step.tile} pixels: "
                        f"continued with {step.smaller}."
                    )
        notices += engine.notices
        engine.notices.clear()
    except UnsoundError as unsound:
        yield -done
        return RestoredPage(
            target.page, passes.seconds, tuple(notices), str(unsound), is_unchanged=True
        )
    return RestoredPage(result, passes.seconds, tuple(notices), blends=tuple(blends))
