"""The command `maskdcpt data pack`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from maskdcpt_cli.cli.completions import complete_type
from maskdcpt_cli.cli.options import (
    data_preset_option,
    data_root_option,
    jobs_option,
    max_pixels_option,
    output_folder_option,
    pairs_option,
    photos_option,
    quiet_option,
    usage_errors,
)
from maskdcpt_cli.degradations import find
from maskdcpt_cli.files import shown

if TYPE_CHECKING:
    from maskdcpt_cli.data.shards.pack_items import PackItems
    from maskdcpt_cli.data.shards.packing import PackedShard

UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}
SHOWN = 20  # skipped images


def _bytes(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    """Parse a size such as 512M."""
    match = re.fullmatch(r"([1-9]\d*)([KMG])", value.upper())
    if not match:
        raise click.BadParameter(f"'{value}' is not a size: give a number with K, M or G, as 512M.")
    return int(match[1]) * UNITS[match[2]]


@click.command(short_help="Pack pairs or clean photos into tar shards of crops.")
@output_folder_option("the shards and their index")
@data_preset_option("whose training sets to pack")
@data_root_option
@pairs_option("Your own pairs, with --type")
@click.option(
    "-t",
    "--type",
    "word",
    metavar="TYPE",
    shell_complete=complete_type,
    help="Degradation of --pairs, as haze.",
)
@photos_option("Clean photos.")
@click.option(
    "--crop-size",
    default=512,
    show_default=True,
    metavar="N",
    type=click.IntRange(16, 16_384),
    help="Side of the crops in pixels; smaller images are stored whole.",
)
@click.option(
    "--stride",
    metavar="N",
    type=click.IntRange(min=1),
    help="Distance between crops in pixels.  [default: the crop size]",
)
@click.option(
    "--shard-size",
    default="512M",
    show_default=True,
    metavar="SIZE",
    callback=_bytes,
    help="Maximum size of a shard, as 512M or 2G.",
)
@click.option(
    "--compress",
    is_flag=True,
    help="Compress the shards to about half the size, for transfer; reading is many times slower.",
)
@jobs_option("Shards written")
@max_pixels_option
@quiet_option
def pack(
    *,
    output: Path,
    preset: str | None,
    data_root: Path | None,
    pairs: tuple[Path, Path] | None,
    word: str | None,
    photos: Path | None,
    crop_size: int,
    stride: int | None,
    shard_size: int,
    compress: bool,
    jobs: int | None,
    max_pixels: int | None,
    quiet: bool,
) -> None:
    """Pack pairs or clean photos into tar shards of crops, which load many times faster.

    The shards are in the format of WebDataset: NAME.gt.png, NAME.lq.png for pairs, and NAME.json
    with the source of the crop. OUT/index.json lists them. The same input gives the same bytes.

    \b
    Examples:
      maskdcpt data pack -o shards/ --pairs hazy/ clear/ --type haze
      maskdcpt data pack -o shards/ --data-preset 5d --data-root data/
      maskdcpt data pack -o shards/ --photos DF2K/ --crop-size 320 --shard-size 1G

    \b
    Exit code: 0 all packed, 1 some images were skipped, 2 wrong usage, 130 interrupted.
    """
    from maskdcpt_cli.images.workers import WorkerPool

    with WorkerPool("maskdcpt_cli.data.shards.packing") as pool:
        pool.start()  # while this process imports the same
        from maskdcpt_cli.cli.progress import track
        from maskdcpt_cli.data.parallel import processors
        from maskdcpt_cli.data.shards import packing

        cropping = packing.Cropping(crop_size, stride or crop_size, compress)
        processes = jobs or processors()
        items = _items(preset, pairs, photos, data_root=data_root, word=word, max_pixels=max_pixels)
        packing.check_free(output)
        jobs = min(processes, len(items) // 1000 + 1)
        measuring = packing.measure(items, jobs=jobs, pool=pool)
        sizes = track(measuring, total=len(items), noun="image", quiet=quiet)
        plans, skipped = packing.plan(items, sizes, cropping=cropping, shard_size=shard_size)
        jobs = min(processes, len(plans))
        writing = packing.pack(plans, items, output, cropping=cropping, jobs=jobs, pool=pool)
        done = list(track(writing, total=len(plans), noun="shard", quiet=quiet))
    skipped += [reason for packed in done for reason in packed.skipped]
    _report(done, skipped, output, quiet=quiet)


def _items(
    preset: str | None,
    pairs: tuple[Path, Path] | None,
    photos: Path | None,
    *,
    data_root: Path | None,
    word: str | None,
    max_pixels: int | None,
) -> "PackItems":
    """Return the images to pack, from exactly one of the three options."""
    from maskdcpt_cli.data.sets import from_pairs, from_photos
    from maskdcpt_cli.data.shards.pack_items import PackItems, of_preset
    from maskdcpt_cli.data.sources import root_of
    from maskdcpt_cli.presets.load import load_data

    if sum(given is not None for given in (preset, pairs, photos)) != 1:
        raise click.UsageError("Give one of --data-preset NAME, --pairs LQ GT and --photos FOLDER.")
    if (pairs is None) != (word is None):
        raise click.UsageError("Give --type with --pairs, as --type haze, and only then.")
    if preset:
        with usage_errors():
            data = load_data(preset)
            root = root_of(data, data_root)
        return of_preset(data, root, max_pixels=max_pixels)
    if not pairs:
        return PackItems(from_photos(cast(Path, photos), max_pixels=max_pixels))
    with usage_errors():
        degradation = find(word or "")
    return PackItems(from_pairs([pairs], [degradation], max_pixels=max_pixels))


def _report(
    done: "Sequence[PackedShard]", skipped: Sequence[str], output: Path, *, quiet: bool
) -> None:
    from maskdcpt_cli.cli.console import count

    for reason in skipped[:SHOWN]:
        click.echo(shown(reason), err=True)
    if len(skipped) > SHOWN:
        click.echo(f"and {count(len(skipped) - SHOWN, 'more image')} skipped.", err=True)
    if not quiet:
        samples = sum(packed.shard.samples for packed in done)
        shards = count(len(done), "shard")
        click.echo(f"{count(samples, 'crop')} in {shards} in {shown(output)}", err=True)
    if skipped:
        click.get_current_context().exit(1)
