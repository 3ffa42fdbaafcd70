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
from maskdcpt_cli.cli.options import (
    data_preset_option,
    data_root_option,
    jobs_option,
    json_option,
    max_pixels_option,
    usage_errors,
)
from maskdcpt_cli.files import shown

if TYPE_CHECKING:
    from maskdcpt_cli.data.audit.scan import PresetScan, Problem

SHOWN = 5  # problems of each type and source


@click.group(short_help="Check data sets, and pack them for training.")
def data() -> None:
    """Check data sets, and pack them for training."""


data.add_command(pack)


@data.command(short_help="Check data sets for missing, damaged and leaked images.")
@data_preset_option("to check", required=True)
@data_root_option
@jobs_option("Images read")
@max_pixels_option
@json_option("sources and problems")
def check(
    *,
    preset: str,
    data_root: Path | None,
    jobs: int | None,
    max_pixels: int | None,
    json: bool,
) -> None:
    """Check all images of the data sets of a data preset before training.

    Every image is read once. Errors are: missing and unreadable images; images without a partner
    or with another size; swapped degraded and clean images; images in both training and test sets,
    even if rescaled or compressed again. Warnings are: an unexpected number of pairs, and unused
    clean images.

    \b
    Examples:
      maskdcpt data check --data-preset 5d --data-root data/
      MASKDCPT_DATA=data/ maskdcpt data check --data-preset my.yaml --json > problems.json

    \b
    Exit code: 0 no errors, 1 some errors, 2 wrong usage, 130 interrupted.
    """
    from maskdcpt_cli.images.workers import WorkerPool

    with WorkerPool("maskdcpt_cli.data.audit.inspect") as pool:
        pool.start()  # while this process imports the same
        from maskdcpt_cli.cli.progress import track
        from maskdcpt_cli.data import sources
        from maskdcpt_cli.data.audit.inspect import inspect
        from maskdcpt_cli.data.audit.scan import scan_preset
        from maskdcpt_cli.data.parallel import processors
        from maskdcpt_cli.presets.load import load_data

        with usage_errors():
            data = load_data(preset)
            root = sources.root_of(data, data_root)
            known = scan_preset(data, root, max_pixels=max_pixels)
        jobs = min(jobs or processors(), len(known) // 16 + 1)
        events = inspect(known, jobs=jobs, pool=pool)
        found = track(events, total=len(known) + 1, noun="pair", quiet=json)
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
    from rich.text import Text

    from maskdcpt_cli.cli.console import data_console, plain_table
    from maskdcpt_cli.data.audit.scan import PROBLEM_TYPES

    console = data_console()
    numbers = ("Expected", "Found", "Repeat")
    table = plain_table(
        "Set", "Type", "Source", *numbers, "State", right=numbers, wraps={"Source", "State"}
    )
    for cells, sources in _lines(known):
        state, style = _state([problem for problem in problems if problem.source in sources])
        table.add_row(*map(shown, cells), Text(state, style=style))
    console.print(table)
    for kind, (title, error) in PROBLEM_TYPES.items():
        some = [problem for problem in problems if problem.kind == kind]
        if some and kind != "count":  # the table has both numbers
            style = "bold red" if error else "bold yellow"
            console.print(Text(f"\n{title.capitalize()}: {len(some):,}", style=style))
            for line in _capped(some):
                console.print(Text(shown(line)), soft_wrap=True)
    console.print(f"\n{_summary(known, problems)}")


def _lines(known: "PresetScan") -> Iterator[tuple[list[str], list[str]]]:
    """Yield the cells of each row, and the sources whose problems are in its state.

    If a part has several sources, a row for all of them comes first.
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


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _state(problems: "Sequence[Problem]") -> tuple[str, str]:
    """Return a summary of problems in a few words, and its colour."""
    if not problems:
        return "ok", "green"
    kinds = Counter(problem.kind for problem in problems)
    words = [
        "other number" if kind == "count" else f"{number:,} {kind}"
        for kind, number in kinds.items()
    ]
    return ", ".join(words), "red" if any(problem.error for problem in problems) else "yellow"


def _capped(problems: "Sequence[Problem]") -> Iterator[str]:
    """Yield the first sentences of each source, below its name."""
    by_source: dict[str, list[Problem]] = {}
    for problem in problems:
        by_source.setdefault(problem.source, []).append(problem)
    for source, some in by_source.items():
        yield f"  {source}"
        yield from (f"    {problem.text}" for problem in some[:SHOWN])
        if len(some) > SHOWN:
            yield f"    and {len(some) - SHOWN:,} more; --json lists them all"


def _summary(known: "PresetScan", problems: "Sequence[Problem]") -> str:
    from maskdcpt_cli.cli.console import count

    errors = sum(problem.error for problem in problems)
    warnings = len(problems) - errors
    counts = f"{count(errors, 'error')}, {count(warnings, 'warning')}"
    return f"{count(len(known), 'pair')} read: {counts}."
