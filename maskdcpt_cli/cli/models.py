"""The command `maskdcpt models`."""

import json as jsonlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click

from maskdcpt_cli.cli.options import ModelName, json_option
from maskdcpt_cli.degradations import LABELS
from maskdcpt_cli.files import shown
from maskdcpt_cli.weights.zoo import ZOO, Model, Use, address, card, find, on_disk

MEGA = 1_000_000
BYTES_PER_PARAMETER = 4  # published in single precision
NO_LICENCE = "none stated"
NARROW = 100  # columns of a terminal, below which some columns of the table are left out
COMMANDS: dict[Use, str] = {"restores": "restore", "classifies": "classify"}


@click.group(invoke_without_command=True, short_help="List the models that --model takes by name.")
@json_option("the list")
@click.pass_context
def models(context: click.Context, json: bool) -> None:
    """List the models that --model takes by name.

    The models called tiny are part of the program; the others are downloaded at first use.

    \b
    Examples:
      maskdcpt models
      maskdcpt models show nafnet-12d
    """
    if context.invoked_subcommand is not None:
        if json:
            raise click.UsageError("--json of one model goes to its end: models show NAME --json.")
        return
    if json:
        click.echo(jsonlib.dumps([_facts(model) for model in ZOO.values()], indent=2))
    else:
        _print_table()


@models.command(short_help="Show one model in full.")
@click.argument("name", metavar="NAME|FILE", type=ModelName())
@json_option("the model")
def show(name: str, json: bool) -> None:
    """Show one model in full: its source, its path on disk, and its card.

    Of a file of weights: what it holds, as far as it is recorded or recognised.

    \b
    Examples:
      maskdcpt models show tiny
      maskdcpt models show runs/pretrain-5d/final.safetensors
    """
    if name not in ZOO and Path(name).is_file():
        _show_file(Path(name), json=json)
        return
    model = find(name)
    if json:
        click.echo(jsonlib.dumps(_facts(model), indent=2))
        return
    lines = {
        "name": model.name + (" (the default)" if model.is_default else ""),
        "summary": model.summary,
        "use": f"{model.use}: maskdcpt {COMMANDS[model.use]} --model {model.name}",
        "backbone": model.backbone,
        "parameters": f"{model.parameters:,}",
        "degradations": "; ".join(f"{LABELS[d].name} ({d})" for d in model.degradations),
        "size": _size(model),
        "licence": model.licence or NO_LICENCE,
        "source": address(model.name) or "part of maskdcpt",
        "on disk": str(on_disk(model.name) or "no"),
    }
    for fact, value in lines.items():
        click.echo(f"{fact:<14}{value}")
    if text := card(name):
        _print_card(text)


def _show_file(path: Path, *, json: bool) -> None:
    from maskdcpt_cli.weights.checkpoint import read_checkpoint

    weights = read_checkpoint(path)
    uses = [*["restores"] * weights.restores, *["classifies"] * bool(weights.classifier)]
    facts = {
        "file": str(path),
        "use": " and ".join(uses),
        "backbone": weights.backbone,
        "options": dict(weights.options),
        "parameters": sum(
            tensor.numel()
            for one in (weights.state_dict, weights.classifier or {})
            for tensor in one.values()
        ),
        "degradations": weights.degradations,
        **({"multi_label": True, "thresholds": weights.thresholds} if weights.multi_label else {}),
        "preset": weights.preset,
        "licence": weights.licence,
        "version": weights.version,
        **({"plugins": weights.plugins} if weights.plugins else {}),
    }
    if json:
        click.echo(jsonlib.dumps(facts, indent=2))
        return
    facts["parameters"] = f"{facts['parameters']:,}"
    facts["options"] = ", ".join(f"{name} {value}" for name, value in weights.options.items())
    facts["degradations"] = " ".join(weights.degradations)
    if weights.multi_label:
        named = (f"{label} {value:.2f}" for label, value in weights.thresholds.items())
        facts["multi_label"], facts["thresholds"] = "yes", ", ".join(named)
    if weights.plugins:
        facts["plugins"] = " ".join(weights.plugins)
    for fact, value in facts.items():
        click.echo(shown(f"{fact:<14}{value or 'not recorded'}"))


def _print_card(text: str) -> None:
    from rich.markdown import Markdown

    from maskdcpt_cli.cli.console import data_console

    console = data_console()
    click.echo()
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        click.echo(text.rstrip())


def _facts(model: Model) -> dict[str, object]:
    path = on_disk(model.name)
    return {
        "name": model.name,
        "default": model.is_default,
        "summary": model.summary,
        "use": model.use,
        "backbone": model.backbone,
        "parameters": model.parameters,
        "degradations": model.degradations,
        "bytes": path.stat().st_size if path else None,
        "licence": model.licence,
        "url": address(model.name),
        "path": str(path) if path else None,
        "card": card(model.name),
    }


def _print_table() -> None:
    from maskdcpt_cli.cli.console import data_console, plain_table

    console = data_console()
    columns = [one for one in COLUMNS if console.width >= NARROW or not one.spare]
    table = plain_table(
        *(one.title for one in columns),
        right={one.title for one in columns if one.right},
        wraps={one.title for one in columns if one.wraps},
    )
    for model in ZOO.values():
        table.add_row(*(one.text(model) for one in columns))
    console.print(table)


def _size(model: Model) -> str:
    path = on_disk(model.name)
    if path is None:
        return f"~{model.parameters * BYTES_PER_PARAMETER / MEGA:.0f} MB"
    return f"{path.stat().st_size / MEGA:.1f} MB"


class ModelColumn(NamedTuple):
    """Column of the list of models."""

    title: str
    text: Callable[[Model], str]
    right: bool = False  # aligned
    wraps: bool = False
    spare: bool = False  # left out of narrow terminals


COLUMNS = (
    ModelColumn("Name", lambda model: model.name),
    ModelColumn("Use", lambda model: model.use),
    ModelColumn("Backbone", lambda model: model.backbone, spare=True),
    ModelColumn("Parameters", lambda model: f"{model.parameters / MEGA:.1f} M", right=True),
    ModelColumn("Degradations", lambda model: " ".join(model.degradations), wraps=True),
    ModelColumn("Size", _size, right=True),
    ModelColumn("Licence", lambda model: model.licence or NO_LICENCE, spare=True),
    ModelColumn("On disk", lambda model: "yes" if on_disk(model.name) else "no"),
)
