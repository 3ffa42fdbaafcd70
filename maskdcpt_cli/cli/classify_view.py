"""Output of classify: predictions on standard output, messages on standard error."""

import json as jsonlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from textwrap import fill

import click
from rich.bar import Bar
from rich.table import Table
from rich.text import Text

from maskdcpt_cli.cli.console import (
    count,
    data_console,
    message_console,
    plain_table,
    say,
)
from maskdcpt_cli.cli.csv_file import write_csv as write_rows
from maskdcpt_cli.degradations import CLEAN, slug
from maskdcpt_cli.files import shown
from maskdcpt_cli.inference.classify import UNCERTAIN, Classified
from maskdcpt_cli.weights.checkpoint import DegradationClassifier

ANSWERS = {CLEAN: ("looks clean", "green"), UNCERTAIN: (UNCERTAIN, "yellow")}
TOP = 3  # types reported of each photo
BAR_WIDTH = 80  # columns of the bars in a file or pipe
UNCALIBRATED = (
    "The probabilities are not calibrated: the file holds no temperature. Pre-training with "
    "held-out pairs fits one."
)


class ClassifyView(AbstractContextManager["ClassifyView"]):
    """A collector of predictions that shows them on exit."""

    def __init__(self, classifier: DegradationClassifier | None, *, csv: Path | None) -> None:
        self.classifier = classifier
        self.csv = csv
        self.taken: list[Classified] = []
        self.messages = message_console()

    @property
    def failed(self) -> bool:
        return any(one.reason for one in self.taken)

    def take(self, one: Classified) -> None:
        self.taken.append(one)

    def show(self) -> None:
        """Report failures; nothing else."""
        for one in self.taken:
            if one.reason:
                say(self.messages, f"Failed: {one.reason}", style="red")

    def __exit__(self, *_error: object) -> None:
        """Show and write the predictions so far, also after an error."""
        self.show()
        if self.csv:
            labels = self.classifier.degradations if self.classifier else ()
            write_csv(self.csv, self.taken, labels)


class ClassifyJson(ClassifyView):
    """One JSON object per photo, as soon as it is classified."""

    def take(self, one: Classified) -> None:
        super().take(one)
        calibrated = self.classifier is not None and self.classifier.temperature is not None
        click.echo(jsonlib.dumps({**_facts(one), "calibrated": calibrated}))

    def show(self) -> None:
        """Show nothing: every prediction is printed already."""


class ClassifyBars(ClassifyView):
    """A bar per type, for one photo."""

    def show(self) -> None:
        console = data_console(width=BAR_WIDTH)
        for one in self.taken:
            if one.probabilities:
                console.print(_headline(one), soft_wrap=True)
                console.print()
                console.print(_bars(one, blocks=console.encoding.startswith("utf")))
        super().show()
        _report_notices(self)


class ClassifyTable(ClassifyView):
    """A table with a row per photo."""

    def show(self) -> None:
        known = [one for one in self.taken if one.probabilities]
        if known:
            console = data_console()
            console.print(_table(known, width=console.width))
        super().show()
        _report_notices(self)
        counts = Counter(_word(one) for one in known)
        if failed := sum(1 for one in self.taken if one.reason):
            counts["failed"] = failed
        summary = ", ".join(f"{number} {word}" for word, number in counts.most_common())
        say(self.messages, f"{count(len(self.taken), 'photo')}: {summary}")


def open_view(
    classifier: DegradationClassifier | None,
    *,
    total: int,
    csv: Path | None,
    json: bool,
    quiet: bool,
) -> ClassifyView:
    """Choose the output for the options and the number of photos."""
    if json:
        return ClassifyJson(classifier, csv=csv)
    if quiet:
        return ClassifyView(classifier, csv=csv)
    return (ClassifyBars if total == 1 else ClassifyTable)(classifier, csv=csv)


def write_csv(path: Path, predictions: Sequence[Classified], labels: Sequence[str]) -> None:
    """Write a row per photo: the answer, the likeliest types, the probability of every label.

    Raises:
        MaskDCPTError: The file cannot be written.
    """
    ranks = ("first", "second", "third")
    rows: list[list[object]] = [
        ["file", "answer", "probability", *ranks, *map(slug, labels), "reason"]
    ]
    for one in predictions:
        first = [slug(label) for label in islice(one.probabilities, len(ranks))]
        first += [""] * (len(ranks) - len(first))
        probabilities = [_rounded(one.probabilities.get(label)) for label in labels]
        top = _rounded(max(one.probabilities.values(), default=None))
        answer = slug(one.answer) if one.answer else ""
        rows.append([one.path, answer, top, *first, *probabilities, one.reason or ""])
    write_rows(path, rows)


def _facts(one: Classified) -> dict[str, object]:
    probabilities = {slug(label): _rounded(value) for label, value in one.probabilities.items()}
    return {
        "source": str(one.path),
        "answer": slug(one.answer) if one.answer else None,
        "probability": next(iter(probabilities.values()), None),
        "top": [{"type": t, "probability": p} for t, p in islice(probabilities.items(), TOP)],
        "probabilities": probabilities,
        "reason": one.reason,
        "notices": one.notices,
    }


def _rounded(probability: float | None) -> float | None:
    return None if probability is None else round(probability, 4)


def _word(one: Classified) -> str:
    return ANSWERS.get(one.answer or "", (slug(one.answer or ""), ""))[0]


def _answer(one: Classified) -> Text:
    return Text(_word(one), style=ANSWERS.get(one.answer or "", ("", "bold"))[1])


def _headline(one: Classified) -> Text:
    text = Text(f"{shown(one.path)}: ") + _answer(one)
    first = next(iter(one.probabilities.values()))
    return text if one.answer == UNCERTAIN else text + Text(f", {_percent(first)}")


def _bars(one: Classified, *, blocks: bool) -> Table:
    """Return a row per type; `blocks` where the terminal has block characters."""
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(no_wrap=True, justify="right")
    for label, value in one.probabilities.items():
        bar = (
            Bar(1, 0, value, color="cyan") if blocks else Text("#" * round(value * BAR_WIDTH // 2))
        )
        table.add_row(slug(label), bar, _percent(value))
    return table


def _table(predictions: Sequence[Classified], *, width: int) -> Table:
    table = plain_table("File", "Answer", "Prob.", "Then", right={"Prob."}, wraps={"File"})
    for one in predictions:
        first, *others = islice(_labelled(one), TOP)
        uncertain = one.answer == UNCERTAIN
        probability = "" if uncertain else _percent(next(iter(one.probabilities.values())))
        then = [first, *others] if uncertain else others
        table.add_row(shown(one.path), _answer(one), probability, _lines(then, width))
    return table


def _lines(labelled: Sequence[str], width: int) -> str:
    """Wrap probabilities between two of them, for a table of `width` columns."""
    whole = ", ".join(one.replace(" ", "\u00a0") for one in labelled)
    lines = fill(whole, width * 3 // 8, break_long_words=False, break_on_hyphens=False)
    return lines.replace("\u00a0", " ")


def _labelled(one: Classified) -> Iterator[str]:
    return (f"{slug(label)} {_percent(value)}" for label, value in one.probabilities.items())


def _percent(probability: float) -> str:
    return "<1 %" if probability < 0.005 else f"{100 * probability:.0f} %"


def _report_notices(view: ClassifyView) -> None:
    if view.classifier and view.classifier.temperature is None:
        say(view.messages, f"Note: {UNCALIBRATED}")
    for one in view.taken:
        for notice in one.notices:
            say(view.messages, f"Note: {one.path}: {notice}")
