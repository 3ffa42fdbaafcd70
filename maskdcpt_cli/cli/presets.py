"""The command `maskdcpt presets`."""

from collections.abc import Sequence

import click

from maskdcpt_cli.cli.options import any_of

KINDS = ("pretrain", "finetune")
COLUMNS = ("name", "backbone", "iterations", "what it is")


@click.group(invoke_without_command=True, short_help="List the settings of training.")
@click.pass_context
def presets(context: click.Context) -> None:
    """List the presets of `maskdcpt pretrain` and `maskdcpt finetune`.

    \b
    Examples:
      maskdcpt presets
      maskdcpt presets show pretrain 5d
    """
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200  # a line a preset, for grep
    table = Table("command", *COLUMNS, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.columns[3].justify = "right"
    for kind in KINDS:
        for row in _rows(kind):
            table.add_row(kind, *row)
    console.print(table)


@presets.command(short_help="Print a preset with the place of each value in the paper.")
@click.argument(
    "words",
    nargs=-1,
    required=True,
    metavar="[pretrain|finetune] NAME|FILE",
    shell_complete=any_of(KINDS),
)
@click.option("--backbone", metavar="NAME", help="As that of the command.")
@click.option("--set", "overrides", multiple=True, metavar="PLACE=VALUE", help="As the command's.")
def show(words: tuple[str, ...], backbone: str | None, overrides: tuple[str, ...]) -> None:
    """Print a preset, every value of it, with its place in the paper; "ours" where there is none.

    What is printed is a preset again, which `--preset FILE.yaml` takes.

    \b
    Examples:
      maskdcpt presets show 5d
      maskdcpt presets show finetune derain --set training.iterations=3000 > my.yaml
    """
    if backbone:
        overrides = (f"backbone={backbone}", *overrides)
    *kind, name = words
    click.echo("---\n".join(_texts(name, kind or _kinds_of(name), overrides)), nl=False)


def _rows(kind: str) -> list[tuple[str, ...]]:
    from maskdcpt_cli.presets.load import load, names
    from maskdcpt_cli.presets.show import summary
    from maskdcpt_cli.presets.training import SCHEMAS

    rows: list[tuple[str, ...]] = []
    for name in names(kind):
        preset = load(name, SCHEMAS[kind], kind=kind)
        iterations = f"{preset.training.iterations:,}"
        rows.append((name, preset.backbone, iterations, summary(name, kind=kind)))
    return rows


def _kinds_of(name: str) -> list[str]:
    """Of a preset that is given without its kind, all that there are."""
    from maskdcpt_cli.presets.load import names

    return [kind for kind in KINDS if name in names(kind)] or list(KINDS[:1])


def _texts(name: str, kinds: Sequence[str], overrides: Sequence[str]) -> list[str]:
    from maskdcpt_cli.presets.load import load
    from maskdcpt_cli.presets.show import annotated
    from maskdcpt_cli.presets.training import SCHEMAS

    for kind in kinds:
        if kind not in KINDS:
            raise click.UsageError(f"'{kind}' is neither {' nor '.join(KINDS)}.")
    return [
        annotated(load(name, SCHEMAS[kind], kind=kind, overrides=overrides), name=name, kind=kind)
        for kind in kinds
    ]
