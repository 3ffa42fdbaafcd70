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
from maskdcpt_cli.weights.building import DegradationClassifier

ANSWERS = {CLEAN: ("looks clean", "green"), UNCERTAIN: (UNCERTAIN, "yellow")}
TOP = 3  # types reported of each photo
BAR_WIDTH = 80  # columns of the bars in a file or pipe
WITHOUT_THRESHOLDS = (
    "The file holds no thresholds: a type is found where its probability exceeds 50 %. "
    "Pre-training with held-out clean images fits them."
)
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
        try:
            self.show()  # ends the program where the reader of a pipe has closed it
        finally:
            if self.csv:
                write_csv(self.csv, self.taken, self.classifier)


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
                blocks = console.encoding.startswith("utf")
                console.print(_bars(one, self.classifier, blocks=blocks))
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
        counts = Counter(word for one in known for word in _words(one))
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


def write_csv(
    path: Path, predictions: Sequence[Classified], classifier: DegradationClassifier | None
) -> None:
    """Write a row per photo: the answer, the likeliest types, the probability of every label.

    Of a multi-label classifier all types that were found, too, with a space between two of them.

    Raises:
        MaskDCPTError: The file cannot be written.
    """
    labels = classifier.degradations if classifier else ()
    several = ["found"] if classifier and classifier.multi_label else []
    ranks = ("first", "second", "third")
    rows: list[list[object]] = [
        ["file", "answer", "probability", *several, *ranks, *map(slug, labels), "reason"]
    ]
    for one in predictions:
        found = [" ".join(map(slug, one.labels))] if several else []
        first = [slug(label) for label in islice(one.probabilities, len(ranks))]
        first += [""] * (len(ranks) - len(first))
        probabilities = [_rounded(one.probabilities.get(label)) for label in labels]
        answer, top = slug(one.answer) if one.answer else "", _rounded(_probability(one))
        rows.append([one.path, answer, top, *found, *first, *probabilities, one.reason or ""])
    write_rows(path, rows)


def _facts(one: Classified) -> dict[str, object]:
    probabilities = {slug(label): _rounded(value) for label, value in one.probabilities.items()}
    return {
        "source": str(one.path),
        "answer": slug(one.answer) if one.answer else None,
        "probability": _rounded(_probability(one)),
        "labels": [slug(label) for label in one.labels],
        "top": [{"type": t, "probability": p} for t, p in islice(probabilities.items(), TOP)],
        "probabilities": probabilities,
        "reason": one.reason,
        "notices": one.notices,
    }


def _rounded(probability: float | None) -> float | None:
    return None if probability is None else round(probability, 4)


def _probability(one: Classified) -> float | None:
    """Return the probability of the answer; several labels have none for being all absent."""
    if one.multi_label:
        return one.probabilities[one.labels[0]] if one.labels else None
    return next(iter(one.probabilities.values()), None)


def _word(one: Classified) -> str:
    return ANSWERS.get(one.answer or "", (slug(one.answer or ""), ""))[0]


def _words(one: Classified) -> list[str]:
    """Return the answer, or each of several that were found."""
    return [slug(label) for label in one.labels] if one.multi_label and one.labels else [_word(one)]


def _answer(one: Classified) -> Text:
    return Text(_word(one), style=ANSWERS.get(one.answer or "", ("", "bold"))[1])


def _headline(one: Classified) -> Text:
    text = Text(f"{shown(one.path)}: ")
    if one.multi_label:
        return text + _found(one)
    first = next(iter(one.probabilities.values()))
    probability = "" if one.answer == UNCERTAIN else f", {_percent(first)}"
    return text + _answer(one) + Text(probability)


def _found(one: Classified) -> Text:
    """Return the types that were found, each with its probability."""
    if not one.labels:
        return _answer(one)
    each = [
        Text(slug(label), "bold").append(f" {_percent(one.probabilities[label])}", "none")
        for label in one.labels
    ]
    return Text(", ").join(each)


def _bars(one: Classified, classifier: DegradationClassifier | None, *, blocks: bool) -> Table:
    """Return a row per type; `blocks` where the terminal has block characters.

    Of several labels those that were not found are dim, with the threshold that they do not exceed.
    """
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(no_wrap=True, justify="right")
    several = classifier if classifier and classifier.multi_label else None
    if several:
        table.add_column(no_wrap=True)
    for label, value in one.probabilities.items():
        absent = several is not None and label not in one.labels
        colour = "bright_black" if absent else "cyan"
        text = "#" * round(value * BAR_WIDTH // 2)
        row = [slug(label), Bar(1, 0, value, color=colour) if blocks else text, _percent(value)]
        if several:
            row.append(f"below {_percent(several.threshold(label))}" if absent else "found")
        table.add_row(*row, style="dim" if absent else "")
    return table


def _table(predictions: Sequence[Classified], *, width: int) -> Table:
    if any(one.multi_label for one in predictions):
        return _table_of_several(predictions, width=width)
    table = plain_table("File", "Answer", "Prob.", "Then", right={"Prob."}, wraps={"File"})
    for one in predictions:
        first, *others = islice(_labelled(one), TOP)
        uncertain = one.answer == UNCERTAIN
        probability = "" if uncertain else _percent(next(iter(one.probabilities.values())))
        then = [first, *others] if uncertain else others
        table.add_row(shown(one.path), _answer(one), probability, _lines(then, width))
    return table


def _table_of_several(predictions: Sequence[Classified], *, width: int) -> Table:
    """Return a row per photo: what was found in it, and the likeliest types that were not."""
    table = plain_table("File", "Found", "Below its threshold", wraps={"File"})
    for one in predictions:
        found = _lines([_labelled_as(label, one) for label in one.labels], width)
        answer = Text(found, style="bold") if one.labels else _answer(one)
        rest = [label for label in one.probabilities if label not in one.labels][: TOP - 1]
        table.add_row(
            shown(one.path), answer, _lines([_labelled_as(label, one) for label in rest], width)
        )
    return table


def _lines(labelled: Sequence[str], width: int) -> str:
    """Wrap probabilities between two of them, for a table of `width` columns."""
    whole = ", ".join(one.replace(" ", "\u00a0") for one in labelled)
    lines = fill(whole, width * 3 // 8, break_long_words=False, break_on_hyphens=False)
    return lines.replace("\u00a0", " ")


def _labelled(one: Classified) -> Iterator[str]:
    return (_labelled_as(label, one) for label in one.probabilities)


def _labelled_as(label: str, one: Classified) -> str:
    return f"{slug(label)} {_percent(one.probabilities[label])}"


def _percent(probability: float) -> str:
    return "<1 %" if probability < 0.005 else f"{100 * probability:.0f} %"


def _report_notices(view: ClassifyView) -> None:
    if view.classifier and view.classifier.temperature is None:
        say(view.messages, f"Note: {UNCALIBRATED}")
    elif view.classifier and view.classifier.multi_label and not view.classifier.thresholds:
        say(view.messages, f"Note: {WITHOUT_THRESHOLDS}")
    of_notices: dict[str, list[Path]] = {}
    for one in view.taken:
        for notice in one.notices:
            of_notices.setdefault(notice, []).append(one.path)
    for notice, (first, *others) in of_notices.items():
        where = f"{first} and {len(others)} more" if others else first
        say(view.messages, f"Note: {where}: {notice}")
