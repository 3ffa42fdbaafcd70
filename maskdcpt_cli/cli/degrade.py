"""The command `maskdcpt degrade`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskdcpt_cli.cli.completions import NameIn, complete_type
from maskdcpt_cli.cli.options import (
    jobs_option,
    max_pixels_option,
    output_folder_option,
    overwrite_option,
    quiet_option,
    usage_errors,
)
from maskdcpt_cli.cli.paths import NewPath
from maskdcpt_cli.degradations import LABELS, SETTINGS, Range, find
from maskdcpt_cli.files import shown

if TYPE_CHECKING:
    from maskdcpt_cli.data.degrading import DegradedPhoto, DegradeRequest, Levels
    from maskdcpt_cli.images.workers import WorkerPool
    from maskdcpt_cli.synthesis.contract import SynthesisSpec

MAX_PER_PHOTO = 100_000
NUMBER = r"\d+(?:\.\d+)?"


@dataclass(frozen=True)
class DegradeOptions:
    """Options of the command line."""

    photos: tuple[Path, ...]
    output: Path
    types: tuple[str, ...]
    setting: str | None
    levels: tuple[str, ...]
    per_photo: int
    seed: int
    sheet: bool
    overwrite: bool
    jobs: int | None
    max_pixels: int | None
    quiet: bool


def _list_types(context: click.Context, _parameter: click.Parameter, requested: bool) -> None:
    """Print every type with its variants and levels, and exit."""
    if not requested or context.resilient_parsing:
        return
    from maskdcpt_cli.cli.console import data_console, plain_table
    from maskdcpt_cli.synthesis.table import SYNTHESIS

    variants = "Variants (only if named)"
    table = plain_table("Type", variants, "Usual levels", "Valid", "Unit", wraps={variants, "Unit"})
    for abbreviation, row in SYNTHESIS.items():
        low, high = sorted((row.least, row.most))
        table.add_row(
            LABELS[abbreviation].slug,
            _variants(row) if len(row.variants) > 1 else "",
            f"{row.usual.low:g}..{row.usual.high:g}",
            f"{low:g}..{high:g}",
            row.unit,
        )
    data_console().print(table)
    context.exit()


def _variants(row: "SynthesisSpec") -> str:
    """Return the variants of a degradation; in parentheses those that are not sampled."""
    sampled = row.sampled or tuple(row.variants)
    named = [variant for variant in row.variants if variant not in sampled]
    return ", ".join(sampled) + (f" ({', '.join(named)})" if named else "")


@click.command(short_help="Synthesize degraded/clean pairs from clean photos.")
@click.argument("photos", nargs=-1, required=True, metavar="PHOTOS...", type=NewPath())
@output_folder_option("the pairs, the manifest and the sheet")
@click.option(
    "-t",
    "--type",
    "types",
    multiple=True,
    metavar="TYPE[:VARIANT]",
    shell_complete=complete_type,
    help="A degradation, as haze, or one variant of it, as noise:poisson; may be repeated.",
)
@click.option(
    "--setting",
    type=NameIn(lambda: SETTINGS),
    help="All degradations of a setting of the paper; `all` are the 19.",
)
@click.option(
    "--level",
    "levels",
    multiple=True,
    metavar="[TYPE=]LEVEL",
    help="25, or one of 15,25,50, or from a range 5..50, in the unit of the type (--list); "
    "TYPE= if there are several types.  [default: the usual range]",
)
@click.option(
    "--per-photo",
    default=1,
    show_default=True,
    metavar="N",
    type=click.IntRange(min=1, max=MAX_PER_PHOTO),
    help="Pairs of each photo and type.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    metavar="S",
    type=click.IntRange(min=0),
    help="Random seed; equal seeds give equal bytes.",
)
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_types,
    help="List all types with their variants, levels and units, and exit.",
)
@click.option("--sheet", is_flag=True, help="Write a contact sheet, OUT/sheet.jpg.")
@overwrite_option("a pair whose content differs,")
@jobs_option("Photos degraded")
@max_pixels_option
@quiet_option
def degrade(**given: Any) -> None:
    """Synthesize training pairs from clean photos: OUT/<type>/lq/ and OUT/<type>/gt/.

    OUT/manifest.jsonl has a line for each pair: file, type, kind, level, seed, parameters. PHOTOS
    are files and folders. The same command writes the same bytes. No file is overwritten unless
    requested.

    \b
    Examples:
      maskdcpt degrade photos/ -o pairs/ --type haze
      maskdcpt degrade photos/ -o pairs/ --type noise:gaussian --level 15,25,50
      maskdcpt degrade photos/ -o pairs/ --type rain:crossing
      maskdcpt degrade photos/ -o pairs/ --setting all --per-photo 3 --sheet
      maskdcpt degrade photos/ -o pairs/ -t haze -t jpeg --level haze=0.5..2 --level jpeg=10

    \b
    Exit code: 0 all degraded, 1 some failed, 2 wrong usage, 130 interrupted.
    """
    from maskdcpt_cli.images.workers import WorkerPool

    options = DegradeOptions(**given)
    with WorkerPool("maskdcpt_cli.data.degrading") as pool:
        pool.start()  # while this process imports the same
        requests = _requests(options.types, options.setting, options.levels)
        done = _degrade(options, requests, pool)
    failures = [one.reason for one in done if one.reason]
    for reason in failures:
        click.echo(shown(reason), err=True)
    if not options.quiet:
        from maskdcpt_cli.cli.console import count

        pairs = count(sum(len(one.lines) for one in done), "pair")
        types = count(len(requests), "type")
        click.echo(f"{pairs} of {types} in {shown(options.output)}", err=True)
    if failures:
        click.get_current_context().exit(1)


def _degrade(
    options: DegradeOptions, requests: "Sequence[DegradeRequest]", pool: "WorkerPool"
) -> "list[DegradedPhoto]":
    from maskdcpt_cli.cli.progress import track
    from maskdcpt_cli.data.degrading import degrade_photos, discover_photos
    from maskdcpt_cli.data.parallel import processors

    sources = discover_photos(options.photos, out=options.output)
    events = degrade_photos(
        sources,
        options.output,
        requests,
        per_photo=options.per_photo,
        seed=options.seed,
        overwrite=options.overwrite,
        sheet=options.sheet,
        max_pixels=options.max_pixels,
        jobs=min(options.jobs or processors(), len(sources)),
        pool=pool,
    )
    return list(track(events, total=len(sources), noun="photo", quiet=options.quiet))


def _requests(
    types: Sequence[str], setting: str | None, levels: Sequence[str]
) -> "list[DegradeRequest]":
    """Return the requested degradations with their levels."""
    from maskdcpt_cli.data.degrading import DegradeRequest

    if bool(types) == bool(setting):
        raise click.UsageError("Give either --type, which may be repeated, or --setting.")
    requested: list[tuple[str, str | None]] = []
    with usage_errors():
        for word, _, variant in (text.partition(":") for text in types):
            requested.append((find(word), variant or None))
        requested += [(degradation, None) for degradation in SETTINGS.get(setting or "", ())]
        named = [degradation for degradation, _ in requested]
        if twice := next((one for one in named if named.count(one) > 1), None):
            slug = LABELS[twice].slug
            raise click.UsageError(
                f"--type {slug} is given twice, and its pairs would have the same names; give it "
                "once, without a variant for any of them, or degrade into two folders."
            )
        by_type = _levels(levels, set(named))
        return [
            DegradeRequest(name, variant=variant, levels=by_type.get(name))
            for name, variant in requested
        ]


def _levels(texts: Sequence[str], requested: set[str]) -> "dict[str, Levels]":
    levels: dict[str, Levels] = {}
    for text in texts:
        word, _, value = text.rpartition("=")
        if not word and len(requested) > 1:
            raise click.UsageError(
                f"--level {text}: there are several types: name one, as --level haze={value}."
            )
        degradation = find(word) if word else next(iter(requested))
        if degradation not in requested:
            raise click.UsageError(f"--level {text}: {word} is not among the requested types.")
        if degradation in levels:
            raise click.UsageError(
                f"--level {text}: {LABELS[degradation].slug} has a level already; write several "
                "with commas, as 15,25."
            )
        levels[degradation] = _parsed(value)
    return levels


def _parsed(text: str) -> "Levels":
    if match := re.fullmatch(rf"({NUMBER})\.\.({NUMBER})", text):
        low, high = float(match[1]), float(match[2])
        if low > high:
            raise click.UsageError(
                f"--level {text}: a range begins with the lower level, as {high:g}..{low:g}."
            )
        return Range(low, high)
    if re.fullmatch(rf"{NUMBER}(,{NUMBER})*", text):
        return tuple(float(number) for number in text.split(","))
    raise click.UsageError(
        f"--level {text}: valid are a number as 25, several as 15,25,50, and a range as 5..50."
    )
