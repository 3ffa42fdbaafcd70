"""The command `maskdcpt presets`."""

from collections.abc import Iterator, Sequence

import click

from maskdcpt_cli.cli.completions import KINDS, TRAINING, complete_kind_or_preset
from maskdcpt_cli.cli.options import architecture_option

WIDTH = 400  # columns in a file or pipe: no summary takes two lines


@click.group(invoke_without_command=True, short_help="List the presets of training and of data.")
@click.pass_context
def presets(context: click.Context) -> None:
    """List the presets: those of pretrain and finetune, and those of data.

    `maskdcpt pretrain` and `maskdcpt finetune` take a training preset by --preset; it names its
    data preset. `maskdcpt benchmark` and `maskdcpt data` take a data preset by --data-preset.

    \b
    Examples:
      maskdcpt presets
      maskdcpt presets show pretrain 5d
    """
    if context.invoked_subcommand is not None:
        return
    from maskdcpt_cli.cli.console import data_console, plain_table

    table = plain_table(
        "Kind", "Name", "Backbone", "Iterations", "Summary", right={"Iterations"}, wraps={"Summary"}
    )
    for kind in KINDS:
        for row in _rows(kind):
            table.add_row(kind, *row)
    data_console(width=WIDTH).print(table)


@presets.command(short_help="Print a preset with the source of each value in the paper.")
@click.argument(
    "words",
    nargs=-1,
    required=True,
    metavar="[pretrain|finetune|data] NAME|FILE",
    shell_complete=complete_kind_or_preset,
)
@click.option("--backbone", metavar="NAME", help="Backbone, as for pretrain and finetune.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a value, as training.iterations=2000; may be repeated.",
)
@architecture_option
def show(
    words: tuple[str, ...],
    backbone: str | None,
    architecture: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Print a preset with all values and their sources in the paper, or "ours".

    The output is a preset, which --preset and --data-preset take as FILE.yaml. Without a kind, the
    training presets of this name are printed. A data preset is printed as it is in its file.

    \b
    Examples:
      maskdcpt presets show 5d
      maskdcpt presets show data 5d > my-data.yaml
      maskdcpt presets show finetune 9d --backbone restormer --architecture moe > my.yaml
      maskdcpt presets show finetune derain --set training.iterations=3000 > my.yaml
    """
    if backbone:
        overrides = (f"backbone={backbone}", *overrides)
    *kind, name = words
    texts = _texts(name, kind or _kinds_of(name), overrides, architecture)
    click.echo("---\n".join(texts), nl=False)


def _rows(kind: str) -> Iterator[tuple[str, ...]]:
    from maskdcpt_cli.presets.load import names
    from maskdcpt_cli.presets.show import summary
    from maskdcpt_cli.presets.training import load_preset

    for name in names(kind):
        facts = ("", "")
        if kind in TRAINING:
            preset = load_preset(kind, name)
            facts = (preset.backbone, f"{preset.training.iterations:,}")
        yield (name, *facts, summary(name, kind=kind))


def _kinds_of(name: str) -> list[str]:
    """Return the kinds of training that have a preset of this name."""
    from maskdcpt_cli.presets.load import names

    return [kind for kind in TRAINING if name in names(kind)] or list(TRAINING[:1])


def _texts(
    name: str, kinds: Sequence[str], overrides: Sequence[str], architecture: str | None
) -> list[str]:
    for kind in kinds:
        if kind not in KINDS:
            raise click.UsageError(f"'{kind}' is none of {', '.join(KINDS)}.")
    return [_text(name, kind, overrides, architecture) for kind in kinds]


def _text(name: str, kind: str, overrides: Sequence[str], architecture: str | None) -> str:
    from maskdcpt_cli.presets.load import load_data, locate
    from maskdcpt_cli.presets.parse import read_text
    from maskdcpt_cli.presets.show import annotated
    from maskdcpt_cli.presets.training import load_preset

    if kind in TRAINING:
        preset = load_preset(kind, name, overrides=overrides)
        if architecture:
            overrides = (*overrides, preset.override_of(architecture))
            preset = load_preset(kind, name, overrides=overrides)
        return annotated(preset, name=name, kind=kind)
    if overrides or architecture:
        raise click.UsageError(
            "--backbone, --architecture and --set are for training presets only."
        )
    load_data(name)  # report what is wrong with a file
    return read_text(locate(name, kind))
