"""The command `maskdcpt data pack`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from maskdcpt_cli.cli.options import any_of
from maskdcpt_cli.degradations import LABELS, find
from maskdcpt_cli.errors import MaskDCPTError

if TYPE_CHECKING:
    from maskdcpt_cli.data.shards.pack_items import PackItems
    from maskdcpt_cli.data.shards.packing import PackedShard

SLUGS = [degradation.slug for degradation in LABELS.values()]
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}
SHOWN = 20  # pictures that were left out
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


def _bytes(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    """Read a size as 512M."""
    match = re.fullmatch(r"([1-9]\d*)([KMG])", value.upper())
    if not match:
        raise click.BadParameter(f"'{value}' is no size; valid are numbers with K, M or G: 512M.")
    return int(match[1]) * UNITS[match[2]]


@click.command(short_help="Pack pairs or clean photos into tar shards of crops.")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the shards and their index.",
)
@click.option(
    "--preset",
    metavar="NAME|FILE",
    help="What a data preset trains on, as 5d.",
)
@click.option(
    "--data-root",
    metavar="FOLDER",
    type=FOLDER,
    help="Where the data of --preset lie.  [default: $MASKDCPT_DATA]",
)
@click.option(
    "--pairs",
    nargs=2,
    metavar="LQ GT",
    type=FOLDER,
    help="Two folders with pictures of the same names; needs --type.",
)
@click.option(
    "-t",
    "--type",
    "word",
    metavar="TYPE",
    shell_complete=any_of(SLUGS),
    help="The degradation of --pairs, as haze.",
)
@click.option("--photos", metavar="FOLDER", type=FOLDER, help="Clean photos.")
@click.option(
    "--crop-size",
    default=512,
    show_default=True,
    metavar="N",
    type=click.IntRange(16, 16_384),
    help="Side of the crops in pixels; smaller pictures are stored whole.",
)
@click.option(
    "--stride",
    metavar="N",
    type=click.IntRange(min=1),
    help="Pixels from a crop to the next.  [default: the crop size]",
)
@click.option(
    "--shard-size",
    default="512M",
    show_default=True,
    metavar="SIZE",
    callback=_bytes,
    help="Bytes of a shard at most, as 512M or 2G.",
)
@click.option(
    "--compress",
    is_flag=True,
    help="Make shards little more than half as large, for the network; reading takes many times "
    "longer.",
)
@click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(min=1),
    help="Shards written at a time.  [default: one a processor]",
)
@click.option("-q", "--quiet", is_flag=True, help="Say only what failed.")
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
    quiet: bool,
) -> None:
    """Pack pairs or clean photos into tar shards of crops, which load many times faster.

    Any reader of WebDataset reads the shards: NAME.gt.png, NAME.lq.png for pairs, and NAME.json,
    which says where the crop is from. OUT/index.json lists them. The same input gives the same
    bytes.

    \b
    Examples:
      maskdcpt data pack -o shards/ --pairs hazy/ clear/ --type haze
      maskdcpt data pack -o shards/ --preset 5d --data-root data/
      maskdcpt data pack -o shards/ --photos DF2K/ --crop-size 320 --shard-size 1G

    \b
    Exit code: 0 all packed, 1 some pictures were left out, 2 wrong usage, 130 interrupted.
    """
    from maskdcpt_cli.cli.progress import track
    from maskdcpt_cli.data.parallel import processors
    from maskdcpt_cli.data.shards import packing

    cropping = packing.Cropping(crop_size, stride or crop_size, compress)
    processes = jobs or processors()
    items = _items(preset, pairs, photos, data_root=data_root, word=word)
    packing.check_free(output)
    sizes = track(
        packing.measure(items, jobs=min(processes, len(items) // 1000 + 1)),
        total=len(items),
        noun="picture",
        quiet=quiet,
    )
    plans, skipped = packing.plan(items, sizes, cropping=cropping, shard_size=shard_size)
    jobs = min(processes, len(plans))
    writing = packing.pack(plans, items, output, cropping=cropping, jobs=jobs)
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
) -> "PackItems":
    """What is to be packed, said in one of three ways."""
    from maskdcpt_cli.data import folders
    from maskdcpt_cli.data.shards.pack_items import PackItems, of_preset
    from maskdcpt_cli.data.sources import data_root as find_root
    from maskdcpt_cli.presets.load import load_data

    if sum(given is not None for given in (preset, pairs, photos)) != 1:
        raise click.UsageError("Give one of --preset NAME, --pairs LQ GT and --photos FOLDER.")
    if (pairs is None) != (word is None):
        raise click.UsageError("--pairs needs --type, as --type haze, and nothing else does.")
    if preset:
        return of_preset(load_data(preset), find_root(data_root))
    if not pairs:
        return PackItems([folders.photos(cast(Path, photos))])
    try:
        degradation = find(word or "")
    except MaskDCPTError as error:
        raise click.UsageError(str(error)) from error
    return PackItems([folders.paired(*pairs, degradation=degradation)])


def _report(
    done: "Sequence[PackedShard]", skipped: Sequence[str], output: Path, *, quiet: bool
) -> None:
    from maskdcpt_cli.cli.console import count

    for reason in skipped[:SHOWN]:
        click.echo(reason, err=True)
    if len(skipped) > SHOWN:
        click.echo(f"and {len(skipped) - SHOWN} more pictures were left out.", err=True)
    if not quiet:
        samples = sum(packed.shard.samples for packed in done)
        told = f"{count(samples, 'crop')} in {count(len(done), 'shard')} in {output}"
        click.echo(told, err=True)
    if skipped:
        click.get_current_context().exit(1)
