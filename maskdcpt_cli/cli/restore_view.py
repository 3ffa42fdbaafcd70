"""Output of restore: progress and messages on standard error, JSON on standard output."""

import json as jsonlib
import threading
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from itertools import chain

import click
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from maskdcpt_cli.cli.console import (
    count,
    duration,
    is_interactive,
    message_console,
    say,
)
from maskdcpt_cli.cli.removal import removal_in_words, removals_in_words
from maskdcpt_cli.degradations import slug
from maskdcpt_cli.files import shown
from maskdcpt_cli.images.reader import PhotoReader, reading_by
from maskdcpt_cli.inference.events import Advanced, Event, Job, Outcome, Started, Status
from maskdcpt_cli.inference.plan import Plan, count_pixels

# Word and colour of each status, in the order of the summary.
ENDINGS: dict[Status, tuple[str, str]] = {
    "restored": ("Restored", "green"),
    "skipped": ("Skipped", "cyan"),
    "unrestored": ("Not restored", "yellow"),
    "failed": ("Failed", "red"),
}
MEGA = 1_000_000
BAD: tuple[Status, ...] = ("unrestored", "failed")


class RestoreView:
    """A view of a run; this base class shows nothing."""

    def opened(self, engine: str) -> None:
        """Report that the network is ready; `engine` describes it and its device."""

    def event(self, event: Event) -> None:
        """Report an event of a photo."""

    def close(self) -> None:
        """Restore the state of the terminal."""

    def summary(self, outcomes: Sequence[Outcome]) -> None:
        """Report the summary of all photos."""


def open_view(
    todo: Plan, *, json: bool, quiet: bool, reader: PhotoReader | None = None
) -> RestoreView:
    """Choose the view for the options and the terminal; `reader` reads headers for it."""
    if json:
        return RestoreJson()
    console = message_console()
    if quiet:
        return RestoreFailures(console)
    if is_interactive(console):
        return RestoreBar(console, todo, reader)
    return RestoreLines(console, todo)


def show(
    events: Generator[Event, None, None], todo: Plan, view: RestoreView, *, resumes: bool = True
) -> list[Outcome]:
    """Show the events of a run and return the outcome of every photo.

    `resumes` says whether the same command goes on after an interruption.

    Raises:
        KeyboardInterrupt: With a sentence on the progress so far.
    """
    outcomes: list[Outcome] = []
    try:
        with closing(events):
            for event in chain(todo.problems, events):
                view.event(event)
                if isinstance(event, Outcome):
                    outcomes.append(event)
    except KeyboardInterrupt:
        if not outcomes:
            raise
        photos = count(len(todo.problems) + len(todo.jobs), "photo")
        raise KeyboardInterrupt(
            f"Interrupted: {len(outcomes)} of {photos} finished; nothing half-written is left."
            + (" The same command resumes the run." if resumes else "")
        ) from None
    finally:
        view.close()
    view.summary(outcomes)
    return outcomes


class RestoreJson(RestoreView):
    """One JSON object per photo on standard output."""

    def event(self, event: Event) -> None:
        if isinstance(event, Outcome):
            fields = {
                "source": str(event.job.source),
                "target": str(event.job.target),
                "status": event.status,
                "reason": event.reason,
                "notices": event.notices,
                "pixels": event.pixels,
                "seconds": round(event.seconds, 3),
                "found": _slugs(event.found),
                "removed": _slugs(event.removed),
            }
            click.echo(jsonlib.dumps(fields))


class RestoreFailures(RestoreView):
    """A line per failure."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def event(self, event: Event) -> None:
        if isinstance(event, Outcome) and event.status in BAD:
            say(self.console, f"{ENDINGS[event.status][0]}: {why(event)}")


class RestoreLines(RestoreFailures):
    """A line per photo and a few at the end, for logs."""

    def __init__(self, console: Console, todo: Plan) -> None:
        super().__init__(console)
        self.todo = todo
        self.done = 0
        self.start = time.monotonic()

    def opened(self, engine: str) -> None:
        say(self.console, engine)
        self.start = time.monotonic()

    def event(self, event: Event) -> None:
        if isinstance(event, Outcome):
            self.done += 1
            total = len(self.todo.jobs) + len(self.todo.problems)
            message = why(event) if event.status in BAD else _description(event)
            say(self.console, f"[{self.done}/{total}] {ENDINGS[event.status][0]}: {message}")

    def summary(self, outcomes: Sequence[Outcome]) -> None:
        for notice in _notices(outcomes, self.todo):
            say(self.console, f"Note: {notice}")
        rows = _rows(outcomes, time.monotonic() - self.start)
        say(self.console, "; ".join(f"{ENDINGS[status][0]}: {text}" for status, text in rows))


class RestoreBar(RestoreView):
    """A bar of restored pixels, the current photo, and a table at the end."""

    def __init__(self, console: Console, todo: Plan, reader: PhotoReader | None = None) -> None:
        self.console = console
        self.todo = todo
        self.workload = Workload(todo.jobs, reader)
        self.bad = self.done = 0
        self.start = time.monotonic()
        self.progress = PhotoProgress(
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[photos]}"),
            SpeedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            expand=True,
            transient=True,
            speed_estimate_period=60,  # seconds; large photos have a few tiles per minute
        )
        self.task = self.progress.add_task("", total=None, photos=self._photos())

    def opened(self, engine: str) -> None:
        self.console.print(Text(shown(engine), style="dim"))
        threading.Thread(target=self.workload.count, daemon=True).start()
        self.start = time.monotonic()
        self.progress.start()

    def event(self, event: Event) -> None:
        if isinstance(event, Started):
            megapixels = event.pixels / MEGA
            self.progress.current = f"{shown(event.job.source)}  {megapixels:.1f} MP"
        elif isinstance(event, Advanced):
            self.workload.advance(event)
        else:
            self.workload.end(event)
            self.done += 1
            self.bad += event.status in BAD
            if words := removal_in_words(event):
                self.progress.console.print(Text(shown(f"{event.job.source}: {words}")))
        self.progress.update(
            self.task,
            completed=self.workload.advanced,
            total=self.workload.total(),
            photos=self._photos(),
        )

    def close(self) -> None:
        self.progress.stop()

    def summary(self, outcomes: Sequence[Outcome]) -> None:
        table = Table.grid(padding=(0, 2))
        for status, text in _rows(outcomes, time.monotonic() - self.start):
            word, colour = ENDINGS[status]
            table.add_row(Text(word, style=f"bold {colour}"), Text(text))
        self.console.print(table)
        for outcome in outcomes:
            if outcome.status in BAD:
                colour = ENDINGS[outcome.status][1]
                self.console.print(_item(why(outcome), colour))
        for notice in _notices(outcomes, self.todo):
            self.console.print(_item(notice, "dim"))

    def _photos(self) -> str:
        total = len(self.todo.jobs) + len(self.todo.problems)
        return f"{self.done}/{total} photos" + (f", {self.bad} failed" if self.bad else "")


class Workload:
    """The pixels of a run, counted from headers during it; estimated until then."""

    def __init__(self, jobs: Sequence[Job], reader: PhotoReader | None = None) -> None:
        self.jobs = jobs
        self.reader = reader
        self.advanced = 0
        self._sizes: dict[Job, int] = {}
        self._counted = 0  # pixels; written by count() alone
        self._surplus = 0  # pixels counted that need no work: of skipped and failed photos
        self._settled: dict[
            Job, int
        ] = {}  # pixels restored of photos that ended before they were counted
        self._advanced: dict[Job, int] = defaultdict(int)

    def count(self) -> None:
        """Read every header, in a separate thread."""
        with reading_by(self.reader) as reader:
            for job in self.jobs:
                size = self._settled[job] if job in self._settled else count_pixels(job, reader)
                self._counted += size
                self._sizes[job] = size

    def advance(self, event: Advanced) -> None:
        self.advanced += event.pixels
        self._advanced[event.job] += event.pixels

    def end(self, outcome: Outcome) -> None:
        """Subtract the pixels of an ended photo that were not restored."""
        advanced = self._advanced.pop(outcome.job, 0)
        if outcome.job in self._sizes:
            self._surplus += self._sizes[outcome.job] - advanced
        else:
            self._settled[outcome.job] = advanced

    def total(self) -> int | None:
        """Return all pixels to restore; photos not yet counted are taken as of average size."""
        if not self._sizes:
            return None
        mean = self._counted / len(self._sizes)
        return round(mean * len(self.jobs)) - self._surplus


class PhotoProgress(Progress):
    """A progress bar with the current photo above it."""

    current = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield Text(self.current, style="dim", no_wrap=True, overflow="ellipsis")
        yield from super().get_renderables()


class SpeedColumn(ProgressColumn):
    """Megapixels per second, over the last minute."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed / MEGA:.2f} MP/s" if task.speed else "")


def why(outcome: Outcome) -> str:
    """Return the reason as a sentence that names the photo."""
    source, reason = outcome.job.source, outcome.reason or ""
    return reason if shown(source.name) in reason else f"{shown(source)}: {reason}"


def _rows(outcomes: Sequence[Outcome], seconds: float) -> Iterable[tuple[Status, str]]:
    for status in ENDINGS:
        some = [outcome for outcome in outcomes if outcome.status == status]
        if not some:
            continue
        text = count(len(some), "photo")
        pixels = sum(outcome.pixels for outcome in some)
        if status == "restored" and pixels:
            speed = pixels / MEGA / max(seconds, 1e-3)
            text += f", {pixels / MEGA:.1f} MP in {duration(seconds)} ({speed:.2f} MP/s)"
        if status == "restored" and (words := removals_in_words(some)):
            text += f": {words}"
        yield status, text


def _notices(outcomes: Iterable[Outcome], todo: Plan) -> Iterable[str]:
    """Yield the notices, equal ones of several photos merged."""
    sources = defaultdict(list)
    for outcome in outcomes:
        for notice in outcome.notices:
            sources[notice].append(outcome.job.source)
    for notice, some in sources.items():
        more = f" and {count(len(some) - 1, 'more photo')}" if len(some) > 1 else ""
        yield shown(f"{some[0]}{more}: {notice}")
    if todo.skipped_files:
        yield f"{count(todo.skipped_files, 'other file')} in the folders skipped: no images."
    if todo.results:
        yield f"{count(todo.results, 'result')} of earlier runs skipped."


def _description(outcome: Outcome) -> str:
    job, words = outcome.job, removal_in_words(outcome)
    if outcome.status == "skipped":
        return f"{job.source} -> {job.target}"
    about = f"{outcome.pixels / MEGA:.1f} MP, {outcome.seconds:.1f} s"
    return f"{job.source} -> {job.target} ({about}{f'; {words}' if words else ''})"


def _slugs(labels: Sequence[str] | None) -> list[str] | None:
    return None if labels is None else list(map(slug, labels))


def _item(text: str, colour: str) -> RenderableType:
    row = Table.grid(padding=(0, 1))
    row.add_row(Text("\u2022", style=colour), Text(shown(text), overflow="fold"))
    return row
