"""The command `maskdcpt study`."""

from collections.abc import Sequence
from typing import Any

import click

from maskdcpt_cli.cli.study.options import Asked, measured, options, read_pictures

RATIOS = "0,0.25,0.5,0.75"


def _ratios(context: click.Context, parameter: click.Parameter, text: str) -> tuple[float, ...]:
    try:
        ratios = tuple(float(word) for word in text.split(","))
    except ValueError:
        ratios = ()
    if ratios and all(0 <= ratio < 1 for ratio in ratios):
        return tuple(sorted(set(ratios)))
    raise click.BadParameter(
        f"'{text}' is not a list of numbers from 0 to below 1, as {RATIOS}.", context, parameter
    )


@click.group(short_help="Ask what a network's features know of degradations (Sec. III).")
def study() -> None:
    """Ask how well a network's own features tell degradations apart: the preliminary study (Sec.
    III) on any weights.

    Features are what the restoration head reads, of pictures of each degradation. They are kept
    in the folder for temporary files (TMPDIR), 2 GB for 500 pictures and NAFNet.
    """


@study.command(short_help="Classify degradations by nearest neighbours.")
@options
def knn(**given: Any) -> None:
    """Name the degradation of a picture by its five nearest neighbours; 2:1 split, five seeds.

    \b
    Examples:
      maskdcpt study knn --backbone nafnet --photos photos/
      maskdcpt study knn -m tiny --untrained -m pretrained.safetensors --photos photos/
      maskdcpt study knn --backbone swinir --folder haze=hazy/ --folder rain=rainy/ --json
    """
    from maskdcpt_cli.cli.study.view import Row, show_rows, write_csv
    from maskdcpt_cli.probing.figures import draw_confusions
    from maskdcpt_cli.probing.neighbours import classify

    asked = Asked(**given)
    pictures = read_pictures(asked)
    rows = [
        Row(one.subject, None, classify(one.distances, pictures))
        for one in measured(asked, pictures)
    ]
    if asked.output:
        draw_confusions([(row.title, row.result) for row in rows], asked.output)
    if asked.csv:
        write_csv(rows, asked.csv)
    show_rows(rows, pictures, size=asked.size, json=asked.json)


@study.command(short_help="Accuracy against the share of the picture that is hidden.")
@click.option(
    "--ratios", default=RATIOS, show_default=True, metavar="R,R...", callback=_ratios,
    help="Shares of the patches that are hidden.",
)  # fmt: skip
@click.option(
    "--method", default="random", show_default=True,
    type=click.Choice(["random", "square", "block-wise"]), help="How hidden patches lie.",
)  # fmt: skip
@click.option(
    "--patch-size", default=16, show_default=True, metavar="N", type=click.IntRange(min=1),
    help="Side of a patch, in pixels.",
)  # fmt: skip
@options
def mask(ratios: tuple[float, ...], method: str, patch_size: int, **given: Any) -> None:
    """Classify as `knn` does, with more and more of each picture hidden from the network.

    Every picture has a mask of its own; the features of its visible places are compared.

    \b
    Example:
      maskdcpt study mask --backbone nafnet -m tiny --photos photos/ -o mask.png
    """
    from maskdcpt_cli.cli.study.view import Row, curves, show_rows, write_csv
    from maskdcpt_cli.probing.figures import draw_curves
    from maskdcpt_cli.probing.neighbours import classify
    from maskdcpt_cli.probing.study import Masking

    asked = Asked(**given)
    _check_grid(asked.size, patch_size, ratios)
    pictures = read_pictures(asked)
    masked = measured(asked, pictures, ratios=ratios, masking=Masking(method, patch_size))
    rows = [Row(one.subject, one.mask_ratio, classify(one.distances, pictures)) for one in masked]
    if asked.output:
        classes = len({picture.degradation for picture in pictures})
        draw_curves(curves(rows), asked.output, chance=1 / classes)
    if asked.csv:
        write_csv(rows, asked.csv)
    show_rows(rows, pictures, size=asked.size, json=asked.json)


@study.command(short_help="Draw the pictures so that similar features are neighbours.")
@click.option(
    "--perplexity", default=30.0, show_default=True, metavar="P",
    type=click.FloatRange(min=1), help="About how many neighbours a picture is meant to have.",
)  # fmt: skip
@options
def tsne(perplexity: float, **given: Any) -> None:
    """Lay the pictures out in a plane by t-SNE and draw it: -o FILE. --csv writes the places.

    \b
    Example:
      maskdcpt study tsne -m tiny --untrained --photos photos/ -o tsne.png
    """
    from maskdcpt_cli.cli.study.view import Row, show_rows, write_places
    from maskdcpt_cli.probing.figures import Panel, draw_planes
    from maskdcpt_cli.probing.neighbours import classify
    from maskdcpt_cli.probing.tsne import lay_out

    asked = Asked(**given)
    if asked.output is None:
        raise click.UsageError("Where shall the picture go? Say -o FILE.png.")
    pictures = read_pictures(asked)
    kinds = tuple(picture.degradation for picture in pictures)
    rows, panels = [], []
    for one in measured(asked, pictures):
        rows.append(Row(one.subject, None, classify(one.distances, pictures)))
        places = lay_out(one.distances, perplexity=perplexity)
        panels.append(Panel(rows[-1].title, places, kinds))
    draw_planes(panels, asked.output)
    if asked.csv:
        write_places(panels, pictures, asked.csv)
    show_rows(rows, pictures, size=asked.size, json=asked.json)


def _check_grid(size: int, patch_size: int, ratios: Sequence[float]) -> None:
    if size % patch_size:
        raise click.UsageError(f"--patch-size {patch_size} does not divide --size {size}.")
    patches = (size // patch_size) ** 2
    if not round(patches * (1 - ratios[-1])):
        raise click.UsageError(f"--ratios {ratios[-1]:g} hides all of the {patches} patches.")
