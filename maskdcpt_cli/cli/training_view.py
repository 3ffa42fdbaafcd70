"""The display of a training run, on standard error."""

import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from maskdcpt_cli.cli.console import duration, is_interactive, message_console
from maskdcpt_cli.files import shown
from maskdcpt_cli.training.events import Event, Initialised, Notice, Saved, Scores, Step, Validated
from maskdcpt_cli.training.recorders import mean_step

SMOOTHED = 50  # steps
GIGA = 10**9
PERCENT = ("accuracy",)  # metrics that are fractions


class View:
    """A display of a run; this one shows nothing."""

    def event(self, event: Event) -> None:
        """Show an event."""

    def close(self) -> None:
        """Restore the terminal."""


class Lines(View):
    """A line for each event, and for the steps one every few seconds, for logs."""

    seconds = 30.0  # between two lines of steps

    def __init__(self, console: Console) -> None:
        self.console = console
        self.steps: deque[Step] = deque(maxlen=SMOOTHED)
        self._shown_at = float("-inf")

    def event(self, event: Event) -> None:
        if not isinstance(event, Step):
            for line in messages(event):
                self._print(line)
            return
        self.steps.append(event)
        last = event.iteration == event.iterations
        if last or time.monotonic() - self._shown_at >= self.seconds:
            self._shown_at = time.monotonic()
            named = (f"{name} {value}" for name, value in facts(mean_step(self.steps)))
            count = f"[{event.iteration}/{event.iterations}]"
            self._print("  ".join((count, *named)))

    def _print(self, text: str) -> None:
        self.console.print(Text(shown(text)), soft_wrap=True)


class Live(Lines):
    """A bar, and below it the means of the last steps; other events scroll by above."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.progress = _WithFacts(
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]} left"),
            console=console,
            expand=True,
            transient=True,
        )
        self.task = self.progress.add_task("", total=None, left="?")

    def event(self, event: Event) -> None:
        if not isinstance(event, Step):
            super().event(event)
            return
        self.progress.start()
        self.steps.append(event)
        average = mean_step(self.steps)
        self.progress.facts = facts(average)
        self.progress.update(
            self.task,
            completed=event.iteration,
            total=event.iterations,
            left=duration(seconds_left(average)),
        )

    def close(self) -> None:
        self.progress.stop()


class _WithFacts(Progress):
    """A progress bar with facts below it."""

    facts: list[tuple[str, str]] = []  # noqa: RUF012  # replaced, never changed

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        table = Table.grid(padding=(0, 2))
        for name, value in self.facts:
            table.add_row(Text(name, style="dim"), Text(value))
        yield table


def open_view() -> View:
    """Return the view that suits the terminal."""
    console = message_console()
    return Live(console) if is_interactive(console) else Lines(console)


def show(events: Generator[Event, None, None], view: View) -> Step | None:
    """Show a run while it trains, and return its last step."""
    step = None
    with closing(view), closing(events):
        for event in events:
            view.event(event)
            step = event if isinstance(event, Step) else step
    return step


def facts(step: Step) -> list[tuple[str, str]]:
    """Return the figures of a step, each with its name."""
    losses = [(f"{name} loss", f"{loss:.4f}") for name, loss in step.losses.items()]
    accuracy = [] if step.accuracy is None else [("accuracy", f"{step.accuracy:.1%}")]
    skipped = [("skipped", str(step.skipped))] if step.skipped else []
    return [
        *losses,
        *accuracy,
        ("lr", f"{step.lr:.2e}"),
        ("images/s", f"{step.images_per_second:.1f}"),
        ("waiting for data", f"{step.waited:.0%}"),
        ("memory", f"{step.memory / GIGA:.1f} GB"),
        *skipped,
        ("left", duration(seconds_left(step))),
    ]


def seconds_left(step: Step) -> float:
    """Return the seconds that the rest of the run takes at the speed of a step."""
    return (step.iterations - step.iteration) * step.batch / max(step.images_per_second, 1e-9)


def messages(event: Event) -> Iterable[str]:
    """Yield the sentences for any event but a step."""
    match event:
        case Notice():
            yield event.text
        case Saved():
            yield f"Saved {event.path}"
        case Validated():
            yield f"Validated at {event.iteration}: {_scores(event.scores)}"
        case Initialised():
            yield f"Initialised from {event.source}: {len(event.loaded)} tensors loaded"
            for word, names in (("Missing", event.missing), ("Left over", event.left_over)):
                if names:
                    yield f"{word}: {_by_part(names)}; by name in the log"


def _by_part(names: Sequence[str]) -> str:
    """Return names by part, as "12 of classifier, 2 of ending"."""
    parts = Counter(name.partition(".")[0] for name in names)
    return ", ".join(f"{count} of {part}" for part, count in parts.items())


def _scores(scores: Scores) -> str:
    return "; ".join(
        f"{degradation} "
        + ", ".join(f"{metric} {_score(metric, value)}" for metric, value in row.items())
        for degradation, row in scores.items()
    )


def _score(metric: str, value: float) -> str:
    return f"{value:.1%}" if metric in PERCENT else f"{value:.4g}"
