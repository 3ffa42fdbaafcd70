"""The commands `maskdcpt data`."""

import json as jsonlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskdcpt_cli.cli.data.pack import pack
from maskdcpt_cli.cli.options import preset_names
from maskdcpt_cli.errors import MaskDCPTError

if TYPE_CHECKING:
    from maskdcpt_cli.data.audit.scan import PresetScan, Problem

SHOWN = 5  # problems of one kind and source


@click.group(short_help="Check data sets, and pack them for training.")
def data() -> None:
    """Check data sets, and pack them for training."""


data.add_command(pack)


@data.command(short_help="Find everything that is wrong with data sets.")
@click.option(
    "--preset",
    required=True,
    metavar="NAME|FILE",
    shell_complete=preset_names,
    help="A data preset, as 5d, or a file like one.",
)
@click.option(
    "--data-root",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the data lie.  [default: $MASKDCPT_DATA]",
)
@click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(min=1),
    help="Processes that read pictures.  [default: one a processor]",
)
@click.option("--json", is_flag=True, help="Print everything as one JSON object, and nothing else.")
def check(*, preset: str, data_root: Path | None, jobs: int | None, json: bool) -> None:
    """Find everything that is wrong with the data sets of a preset, before training does.

    Every picture is read once. Errors are: what is missing, unreadable, without its partner, or
    of another size than it; degraded and clean pictures that are swapped; and pictures that are in
    training and test sets, be they scaled or compressed again. Warnings are: another number of
    pairs than expected, and clean pictures that are not used.

    \b
    Examples:
      maskdcpt data check --preset 5d --data-root data/
      MASKDCPT_DATA=data/ maskdcpt data check --preset my.yaml --json > problems.json

    \b
    Exit code: 0 no errors, 1 some errors, 2 wrong usage, 130 interrupted.
    """
    from maskdcpt_cli.cli.progress import track
    from maskdcpt_cli.data import sources
    from maskdcpt_cli.data.audit.inspect import inspect
    from maskdcpt_cli.data.audit.scan import scan_preset
    from maskdcpt_cli.data.parallel import processors
    from maskdcpt_cli.presets.load import load_data

    try:
        root = sources.data_root(data_root)
        known = scan_preset(load_data(preset), root)
    except MaskDCPTError as error:
        raise click.UsageError(str(error)) from error
    jobs = min(jobs or processors(), len(known) // 16 + 1)
    found = track(inspect(known, jobs=jobs), total=len(known) + 1, noun="pair", quiet=json)
    problems = [*known.problems, *(problem for some in found for problem in some)]
    if json:
        click.echo(jsonlib.dumps(_as_json(known, problems), indent=2))
    else:
        _show(known, problems)
    if any(problem.error for problem in problems):
        click.get_current_context().exit(1)


def _as_json(known: "PresetScan", problems: "Sequence[Problem]") -> dict[str, object]:
    return {
        "sources": [
            {
                "set": row.role,
                "degradation": row.part.degradation,
                "name": row.source.name,
                "title": row.title,
                "expected": row.source.pairs,
                "found": len(row.scan.pairs),
                "repeat": getattr(row.part, "repeat", None),
            }
            for row in known.rows
        ],
        "problems": [{**asdict(problem), "error": problem.error} for problem in problems],
    }


def _show(known: "PresetScan", problems: "Sequence[Problem]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from maskdcpt_cli.data.audit.scan import PROBLEM_TYPES

    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = 200  # a line a source, for grep
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in ("Set", "Type", "Source"):
        table.add_column(title, no_wrap=title != "Source")
    for title in ("Expected", "Found", "Repeat"):
        table.add_column(title, no_wrap=True, justify="right")
    table.add_column("State")
    for cells, sources in _lines(known):
        told, style = _state([problem for problem in problems if problem.source in sources])
        table.add_row(*cells, Text(told, style=style))
    console.print(table)
    for kind, (title, error) in PROBLEM_TYPES.items():
        some = [problem for problem in problems if problem.kind == kind]
        if some and kind != "count":  # the table has both numbers
            style = "bold red" if error else "bold yellow"
            console.print(Text(f"\n{title.capitalize()}: {len(some):,}", style=style))
            for line in _capped(some):
                console.print(Text(line), soft_wrap=True)
    console.print(f"\n{_summary(known, problems)}")


def _lines(known: "PresetScan") -> Iterator[tuple[list[str], list[str]]]:
    """The cells of a line of the table, and the sources in whose problems its state is.

    Where a part has several sources, a line for all of them comes first.
    """
    for part, group in groupby(known.rows, key=lambda row: row.part):
        rows = list(group)
        role, several = rows[0].role, len(rows) > 1
        word = part.degradation or ""
        repeat = str(getattr(part, "repeat", ""))
        factor = getattr(part, "variants", 1)
        total = getattr(part, "pairs", None) or (None if several else rows[0].source.pairs)
        found = factor * sum(len(row.scan.pairs) for row in rows)
        name = f"{len(rows)} sources" if several else rows[0].source.name
        titles = [f"{role} {word}", *(row.read_as for row in rows)]
        yield [role, word, name, _number(total), f"{found:,}", repeat], titles
        for row in rows if several else ():
            counts = [_number(row.source.pairs), f"{len(row.scan.pairs):,}"]
            yield ["", "", f"  {row.source.name}", *counts, ""], [row.read_as]


def _number(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _state(problems: "Sequence[Problem]") -> tuple[str, str]:
    """What is wrong in a few words, and their colour."""
    if not problems:
        return "ok", "green"
    kinds = Counter(problem.kind for problem in problems)
    words = [
        "other number" if kind == "count" else f"{number:,} {kind}"
        for kind, number in kinds.items()
    ]
    return ", ".join(words), "red" if any(problem.error for problem in problems) else "yellow"


def _capped(problems: "Sequence[Problem]") -> Iterator[str]:
    """The sentences under the name of their source, no more than a few of each."""
    by_source: dict[str, list[Problem]] = {}
    for problem in problems:
        by_source.setdefault(problem.source, []).append(problem)
    for source, some in by_source.items():
        yield f"  {source}"
        yield from (f"    {problem.text}" for problem in some[:SHOWN])
        if len(some) > SHOWN:
            yield f"    and {len(some) - SHOWN:,} more; --json lists them all"


def _summary(known: "PresetScan", problems: "Sequence[Problem]") -> str:
    errors = sum(problem.error for problem in problems)
    warnings = len(problems) - errors
    return (
        f"{_counted(len(known), 'pair')} read: "
        f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}."
    )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
