"""Display of an ablation: its runs, and the table beside the paper's."""

import json as jsonlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev

import click
from rich.table import Table

from maskdcpt_cli.benchmarking.ablation import Ablation, AblationRow, AblationRun
from maskdcpt_cli.cli.console import data_console, plain_table
from maskdcpt_cli.cli.csv_file import write_csv
from maskdcpt_cli.cli.stopping import stopping
from maskdcpt_cli.cli.training_view import open_view, show
from maskdcpt_cli.degradations import slug
from maskdcpt_cli.files import shown
from maskdcpt_cli.training.events import Notice

CSV_HEADS = ("table", "mask", "degradation", "seed", "psnr", "paper")


def train(chosen: Ablation, runs: Sequence[AblationRun]) -> None:
    """Train all runs; KeyboardInterrupt with a sentence if one is stopped."""
    with stopping() as stop:
        for number, run in enumerate(runs):
            for name, events_of in (("Pre-training", run.pretrain), ("Fine-tuning", run.finetune)):
                view = open_view()
                view.event(Notice(f"{name} {number + 1} of {len(runs)}: {_described(chosen, run)}"))
                show(events_of(stop), view)
                if stop():
                    raise KeyboardInterrupt(
                        f"Interrupted in {shown(run.folder)}; the same command resumes there."
                    )


def _described(chosen: Ablation, run: AblationRun) -> str:
    return f"{chosen.varied} {run.value}, seed {run.seed}, in {shown(run.folder)}"


def show_table(chosen: Ablation, found: Sequence[AblationRow], *, json: bool) -> None:
    """Print the figures on standard output, as a table or as JSON."""
    if json:
        figures = [dict(zip(CSV_HEADS, one, strict=True)) for one in _figures(chosen, found)]
        click.echo(jsonlib.dumps(figures, indent=2))
        return
    seeds = len(next(iter(found[0].psnr.values())))
    of_seeds = f"mean and standard deviation over {seeds} seeds" if seeds > 1 else "of one seed"
    console = data_console()
    console.print(_table(chosen, found))
    console.print(
        f"{chosen.title}: PSNR in dB at the last validation of fine-tuning, {of_seeds}. "
        "`maskdcpt benchmark` measures whole test sets. The paper's are of PromptIR.",
        style="dim", soft_wrap=True,
    )  # fmt: skip


def write_figures(chosen: Ablation, found: Sequence[AblationRow], path: Path) -> None:
    """Write a line for each figure as CSV; raises MaskDCPTError if the file cannot be written."""
    write_csv(path, [CSV_HEADS, *_figures(chosen, found)])


def _figures(
    chosen: Ablation, found: Sequence[AblationRow]
) -> Iterator[tuple[str, str, str, int, float, float | None]]:
    """Yield the values of CSV_HEADS for each mask, degradation and seed."""
    for row in found:
        for label, reached in row.psnr.items():
            for seed, psnr in enumerate(reached):
                printed = row.paper.get(label)
                yield chosen.title, row.value, slug(label), seed, round(psnr, 4), printed


def _table(chosen: Ablation, found: Sequence[AblationRow]) -> Table:
    labels = tuple(found[0].psnr)
    heads = (*(slug(label) for label in labels), "mean")
    table = plain_table(chosen.varied, *heads, right=heads)
    for row in found:
        means = [fmean(of_seed) for of_seed in zip(*row.psnr.values(), strict=True)]
        table.add_row(row.value, *map(_spread, (*row.psnr.values(), means)))
        if row.paper:
            paper = (*(row.paper[label] for label in labels), fmean(row.paper.values()))
            table.add_row("  paper", *(f"{psnr:.2f}" for psnr in paper), style="dim")
    return table


def _spread(psnr: Sequence[float]) -> str:
    spread = f" \N{PLUS-MINUS SIGN} {stdev(psnr):.2f}" if len(psnr) > 1 else ""
    return f"{fmean(psnr):.2f}{spread}"
