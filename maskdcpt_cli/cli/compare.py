"""The command `maskdcpt compare`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskdcpt_cli.cli.options import (
    ending_in,
    max_pixels_option,
    metrics_option,
    overwrite_option,
    pair_by_option,
    quiet_option,
)
from maskdcpt_cli.cli.paths import FILE, refuse_existing
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import shown

if TYPE_CHECKING:
    from maskdcpt_cli.comparison.grid import WholeImage
    from maskdcpt_cli.comparison.results import SceneFiles
    from maskdcpt_cli.images.arrays import Pixels
    from maskdcpt_cli.images.reader import PhotoReader

PATH = click.Path(path_type=Path, exists=True)
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@click.command(short_help="Draw results of several methods side by side, as in papers.")
@click.argument("results", nargs=-1, required=True, metavar="RESULT...", type=PATH)
@click.option(
    "--input", "lq", required=True, metavar="LQ", type=PATH,
    help="Input of the methods: an image, or a folder of images.",
)  # fmt: skip
@click.option(
    "--gt", metavar="GT", type=PATH, help="Ground truth: an image, or a folder of images.",
)  # fmt: skip
@click.option(
    "-o", "--output", required=True, metavar="FILE", callback=ending_in(*FORMATS),
    type=FILE, help="The grid, .png or .jpg.",
)  # fmt: skip
@click.option(
    "-l", "--label", "labels", multiple=True, metavar="TEXT",
    help="Name of a method, one for each RESULT in order.  [default: the file's or folder's]",
)  # fmt: skip
@click.option(
    "--crops", default=2, show_default=True, metavar="1..3", type=click.IntRange(1, 3),
    help="Number of enlarged crops.",
)  # fmt: skip
@click.option(
    "--crop-size", metavar="N", type=click.IntRange(min=8),
    help="Side of a crop in pixels.  [default: a fifth of the shorter side]",
)  # fmt: skip
@click.option(
    "--rows", default=3, show_default=True, metavar="N", type=click.IntRange(min=1),
    help="Number of images for folders: those whose results differ most.",
)  # fmt: skip
@metrics_option("Metrics against --gt, under pyiqa's names.", default="psnr,ssim")
@pair_by_option
@click.option(
    "--whole",
    default="input",
    show_default=True,
    type=click.Choice(["input", "gt"]),
    help="Image that is shown whole, at the left.",
)
@overwrite_option("the grid")
@max_pixels_option
@quiet_option
def compare(
    *,
    results: tuple[Path, ...],
    lq: Path,
    gt: Path | None,
    output: Path,
    labels: tuple[str, ...],
    crops: int,
    crop_size: int | None,
    rows: int,
    metrics: tuple[str, ...],
    pair_by: str,
    whole: "WholeImage",
    overwrite: bool,
    max_pixels: int | None,
    quiet: bool,
) -> None:
    """Draw a grid of input, results of each method, and ground truth.

    RESULT, LQ and GT are images, or folders of images paired by name. The regions where the
    methods differ most are enlarged. Scores are of the whole image, the best is bold.

    \b
    Examples:
      maskdcpt compare a.png b.png --input lq.png --gt gt.png -o grid.png
      maskdcpt compare nafnet/ swinir/ -l NAFNet -l SwinIR --input lq/ --gt gt/ -o grid.png

    \b
    Exit code: 0 all compared, 1 some images could not be, 2 wrong usage.
    """
    from maskdcpt_cli.images.reader import PhotoReader

    refuse_existing(output, overwrite=overwrite, inputs=[*results, lq, gt])
    named = _labels(results, labels)
    with PhotoReader().start() as reader:  # while the metrics are imported
        from maskdcpt_cli.comparison.grid import figure
        from maskdcpt_cli.comparison.results import find_scenes, open_scenes

        found = find_scenes(results, lq, gt, pair_by=pair_by)
        chosen, problems = _choose(found.scenes, reader, rows, max_pixels=max_pixels, quiet=quiet)
        for problem in (*found.missing, *problems):
            click.echo(shown(problem), err=True)
        if not chosen:
            raise MaskDCPTError("There is nothing to compare.")
        opened = open_scenes(chosen, named, metrics=metrics, max_pixels=max_pixels, reader=reader)
        scenes = list(opened)
    _write(figure(scenes, crops=crops, crop_size=crop_size, whole=whole), output)
    if not quiet:
        names = ", ".join(scene.name for scene in scenes)
        click.echo(shown(f"{output}: {names}"), err=True)
    if found.missing or problems:
        click.get_current_context().exit(1)


def _labels(results: Sequence[Path], labels: Sequence[str]) -> list[str]:
    if labels and len(labels) != len(results):
        raise click.UsageError(
            f"There are {len(results)} results, but {len(labels)} --label: give one for each."
        )
    paths = [path.resolve() for path in results]
    names = [path.name if path.is_dir() else path.stem for path in paths]
    if len(set(names)) < len(names):  # a.png of several folders
        parents = [path.parent.name for path in paths]
        repeated = len(set(parents)) < len(parents)
        both = [f"{parent}/{name}" for parent, name in zip(parents, names, strict=True)]
        names = both if repeated else parents
    return list(labels) or names


def _choose(
    scenes: "Sequence[SceneFiles]",
    reader: "PhotoReader",
    rows: int,
    *,
    max_pixels: int | None,
    quiet: bool,
) -> "tuple[list[SceneFiles], list[str]]":
    """Return the scenes whose results differ most, in their order, and the problems of others."""
    from maskdcpt_cli.cli.progress import track
    from maskdcpt_cli.comparison.results import measure_differences

    measuring = measure_differences(scenes, max_pixels=max_pixels, reader=reader)
    differences = list(track(measuring, total=len(scenes), noun="image", quiet=quiet))
    readable = sorted(
        (one for one in differences if not one.problem), key=lambda one: -one.difference
    )
    taken = {one.files.lq for one in readable[:rows]}
    problems = [one.problem for one in differences if one.problem]
    return [files for files in scenes if files.lq in taken], problems


def _write(sheet: "Pixels", path: Path) -> None:
    from PIL import Image

    from maskdcpt_cli.files import written

    with written(path) as file:
        Image.fromarray(sheet).save(file, format=FORMATS[path.suffix.lower()], quality=95)
