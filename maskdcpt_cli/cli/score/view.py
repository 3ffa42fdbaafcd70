"""Terminal output of a score: figures on standard output, problems on standard error."""

import json as jsonlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import click
from rich.table import Table
from rich.text import Text

from maskdcpt_cli.cli.console import (
    count,
    data_console,
    message_console,
    plain_table,
    say,
)
from maskdcpt_cli.cli.score.report import ScoreReport, as_json
from maskdcpt_cli.files import shown
from maskdcpt_cli.scoring.metrics import Metric
from maskdcpt_cli.scoring.summary import RESAMPLES, Summary, worst

LISTED = 5  # lines of each type of problem


def show(report: ScoreReport, *, json: bool, quiet: bool) -> None:
    """Show a report as tables or JSON; with `quiet`, only problems."""
    if json:
        click.echo(jsonlib.dumps(as_json(report), indent=2))
        return
    if not quiet:
        _show_figures(report)
    console = message_console()
    for style, title, lines in _problems(report, quiet=quiet):
        say(console, title, style=style)
        for line in lines:
            say(console, f"  {line}")


def direction(metric: Metric) -> str:
    """Return "higher is better" or "lower is better"."""
    return "higher is better" if metric.higher_is_better else "lower is better"


def within(metric: Metric, one: Summary) -> str:
    """Format the interval; "" if there is none."""
    if one.interval is None:
        return ""
    low, high = (f"{end:.{metric.digits}f}" for end in one.interval)
    return f"{low} to {high}"


def facts(report: ScoreReport) -> Iterator[tuple[str, str]]:
    """Yield the conditions of the figures: protocol, pairs and intervals."""
    yield f"Protocol {report.protocol.name}", report.protocol.describe()
    if report.gt:
        pairs = count(len(report.pairing.items), "pair")
        yield "Pairs", f"{pairs}, {report.pairing.rule}."
    if any(one.interval for one in report.summaries):
        yield "Intervals", f"95 %, of the mean, by bootstrap ({RESAMPLES:,} resamples, seed 0)."


def _show_figures(report: ScoreReport) -> None:
    console = data_console()
    if report.summaries:
        console.print(_means(report))
    some = worst(report.metrics, report.scored)
    if len(report.scored) > 1 and some:
        console.print(_worst(report))
    for word, sentence in facts(report):
        line = Text.assemble((f"{word}: ", "bold"), sentence)
        console.print(line, soft_wrap=not console.is_terminal)


def _means(report: ScoreReport) -> Table:
    figures = ("Mean", "95 % interval", "Images")
    table = plain_table("Metric", *figures, "", right=figures)
    for one in report.summaries:
        metric = report.metrics[one.metric]
        remark = f"{direction(metric)}{', over the set' if metric.over_set else ''}"
        cells = [metric.shown(one.mean), within(metric, one), f"{one.images:,}"]
        table.add_row(one.metric, *cells, Text(remark, style="dim"))
    return table


def _worst(report: ScoreReport) -> Table:
    names = [name for name in report.metrics if any(name in one.values for one in report.scored)]
    some = worst(report.metrics, report.scored)
    first = next(name for name in names if name in some[0].values)
    title, heads = f"\nWorst {len(some)} by {first}", [f"\n{name}" for name in names]
    table = plain_table(title, *heads, right=heads, wraps={title})
    for one in some:
        cells = [
            report.metrics[name]._replace(unit="").shown(one.values[name])
            if name in one.values
            else ""
            for name in names
        ]
        table.add_row(shown(one.name), *cells)
    table.add_row("")
    return table


def _problems(report: ScoreReport, *, quiet: bool) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Yield each type of problem: a style, a title and lines."""
    problems = [f"{name}: {sentence}" for name, sentence in report.problems()]
    if problems:
        yield "bold red", f"Not measured: {len(problems):,}", _capped(problems)
    if report.unavailable:
        lines = [one.reason for one in report.unavailable]
        yield "bold red", f"Metrics left out: {len(lines)}", lines
    lone = [shown(path) for path in report.pairing.missing]
    if lone:
        hint = [report.pairing.hint] if report.pairing.hint else []
        yield "bold red", f"Without a ground truth: {len(lone):,}", [*_capped(lone), *hint]
    broken = report.broken()
    if broken:
        yield "bold red", "Out of bounds", broken
    unused = [shown(path) for path in report.pairing.extra]
    if unused and not quiet:
        yield "yellow", f"Ground truths without a restored image: {len(unused):,}", _capped(unused)
    notices = list(_notices(report))
    if notices and not quiet:
        yield "yellow", "Converted", _capped(notices)


def _notices(report: ScoreReport) -> Iterator[str]:
    """Yield the notices, equal ones of several images together."""
    names: dict[str, list[str]] = defaultdict(list)
    for one in report.scored:
        for notice in one.notices:
            names[notice].append(one.name)
    for notice, some in names.items():
        more = f" and {count(len(some) - 1, 'more image')}" if len(some) > 1 else ""
        yield f"{some[0]}{more}: {notice}"


def _capped(lines: Iterable[str]) -> list[str]:
    listed = list(lines)
    rest = len(listed) - LISTED
    return listed[:LISTED] + ([f"and {rest:,} more; --json lists them all"] if rest > 0 else [])
