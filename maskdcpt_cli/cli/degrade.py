"""The command `maskdcpt degrade`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskdcpt_cli.cli.options import any_of
from maskdcpt_cli.degradations import LABELS, SETTINGS, Range, find
from maskdcpt_cli.errors import MaskDCPTError

if TYPE_CHECKING:
    from maskdcpt_cli.data.degrading import DegradeRequest, Levels

SLUGS = [degradation.slug for degradation in LABELS.values()]
NUMBER = r"\d+(?:\.\d+)?"


def _list_types(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    """Print every type with its variants and levels, and leave."""
    if not asked or context.resilient_parsing:
        return
    from rich.console import Console
    from rich.table import Table

    from maskdcpt_cli.synthesis.table import SYNTHESIS

    table = Table("type", "variants", "usual levels", "valid", "unit", box=None)
    table.columns[0].no_wrap = True
    for abbreviation, row in SYNTHESIS.items():
        low, high = sorted((row.least, row.most))
        table.add_row(
            LABELS[abbreviation].slug,
            ", ".join(row.variants) if len(row.variants) > 1 else "",
            f"{row.usual.low:g}..{row.usual.high:g}",
            f"{low:g}..{high:g}",
            row.unit,
        )
    Console(highlight=False).print(table)
    context.exit()


@click.command(short_help="Make degraded/clean pairs of clean photos.")
@click.argument(
    "photos", nargs=-1, required=True, metavar="PHOTOS...", type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the pairs, the manifest and the sheet.",
)
@click.option(
    "-t",
    "--type",
    "types",
    multiple=True,
    metavar="TYPE[:KIND]",
    shell_complete=any_of(SLUGS),
    help="A degradation, as haze, or one variant of it, as noise:poisson; may be given again.",
)
@click.option(
    "--setting",
    type=click.Choice(list(SETTINGS)),
    help="All degradations of a setting of the paper; `all` are the 19.",
)
@click.option(
    "--level",
    "levels",
    multiple=True,
    metavar="[TYPE=]LEVEL",
    help="25, or one of 15,25,50, or from a range 5..50, in the unit of the type (--list); "
    "TYPE= where there are several types. Unless told, levels are drawn from the usual range.",
)
@click.option(
    "--per-photo",
    default=1,
    show_default=True,
    metavar="N",
    type=click.IntRange(min=1),
    help="Pairs made of each photo and type.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    metavar="S",
    type=click.IntRange(min=0),
    help="Another seed draws other pairs; the same one gives the same bytes.",
)
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_types,
    help="Show all types with their variants, levels and units, and leave.",
)
@click.option("--sheet", is_flag=True, help="Write a contact sheet, OUT/sheet.jpg.")
@click.option("--overwrite", is_flag=True, help="Replace pairs of other content.")
@click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(min=1),
    help="Photos degraded at a time.  [default: one a processor]",
)
@click.option("-q", "--quiet", is_flag=True, help="Say only what failed.")
def degrade(
    *,
    photos: tuple[Path, ...],
    output: Path,
    types: tuple[str, ...],
    setting: str | None,
    levels: tuple[str, ...],
    per_photo: int,
    seed: int,
    sheet: bool,
    overwrite: bool,
    jobs: int | None,
    quiet: bool,
) -> None:
    """Make pairs of clean photos, to train with: OUT/<type>/lq/ and OUT/<type>/gt/.

    OUT/manifest.jsonl has a line for each pair: file, type, kind, level, seed, parameters. PHOTOS
    are files and folders. The same command writes the same bytes; nothing is overwritten unasked.

    \b
    Examples:
      maskdcpt degrade photos/ -o pairs/ --type haze
      maskdcpt degrade photos/ -o pairs/ --type noise:gaussian --level 15,25,50
      maskdcpt degrade photos/ -o pairs/ --setting all --per-photo 3 --sheet
      maskdcpt degrade photos/ -o pairs/ -t haze -t jpeg --level haze=0.5..2 --level jpeg=10

    \b
    Exit code: 0 all degraded, 1 some failed, 2 wrong usage, 130 interrupted.
    """
    from maskdcpt_cli.cli.console import count
    from maskdcpt_cli.cli.progress import track
    from maskdcpt_cli.data.degrading import degrade_photos, discover_photos
    from maskdcpt_cli.data.parallel import processors

    requests = _requests(types, setting, levels)
    sources = discover_photos(photos, out=output)
    events = degrade_photos(
        sources,
        output,
        requests,
        per_photo=per_photo,
        seed=seed,
        overwrite=overwrite,
        sheet=sheet,
        jobs=min(jobs or processors(), len(sources)),
    )
    done = list(track(events, total=len(sources), noun="photo", quiet=quiet))
    for one in done:
        if one.reason:
            click.echo(one.reason, err=True)
    pairs = sum(len(one.lines) for one in done)
    if not quiet:
        told = f"{count(pairs, 'pair')} of {count(len(requests), 'type')} in {output}"
        click.echo(told, err=True)
    if any(one.reason for one in done):
        click.get_current_context().exit(1)


def _requests(
    types: Sequence[str], setting: str | None, levels: Sequence[str]
) -> "list[DegradeRequest]":
    """What was asked for, each with its levels."""
    from maskdcpt_cli.data.degrading import DegradeRequest

    if bool(types) == bool(setting):
        raise click.UsageError("Give either --type, once or more often, or --setting.")
    try:
        asked = [
            (find(word), variant or None) for word, _, variant in (t.partition(":") for t in types)
        ]
        asked += [(degradation, None) for degradation in SETTINGS[setting or ""]] if setting else []
        drawn = _levels(levels, {degradation for degradation, _ in asked})
        return [
            DegradeRequest(name, variant=variant, levels=drawn.get(name)) for name, variant in asked
        ]
    except MaskDCPTError as error:
        raise click.UsageError(str(error)) from error


def _levels(texts: Sequence[str], asked: set[str]) -> "dict[str, Levels]":
    levels: dict[str, Levels] = {}
    for text in texts:
        word, _, value = text.rpartition("=")
        if not word and len(asked) > 1:
            raise click.UsageError(
                f"--level {text}: there are several types; say which, as --level haze={value}."
            )
        degradation = find(word) if word else next(iter(asked))
        if degradation not in asked:
            raise click.UsageError(f"--level {text}: {word} is not among the types asked for.")
        levels[degradation] = _parsed(value)
    return levels


def _parsed(text: str) -> "Levels":
    if match := re.fullmatch(rf"({NUMBER})\.\.({NUMBER})", text):
        return Range(float(match[1]), float(match[2]))
    if re.fullmatch(rf"{NUMBER}(,{NUMBER})*", text):
        return tuple(float(number) for number in text.split(","))
    raise click.UsageError(
        f"--level {text}: valid are a number as 25, several as 15,25,50, and a range as 5..50."
    )
