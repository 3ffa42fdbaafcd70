"""The command `maskdcpt study`."""

from collections.abc import Sequence
from typing import Any

import click

from maskdcpt_cli.cli.study.options import StudyOptions, measured, options, read_images

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

    FeatureStore are what the restoration head reads, of images of each degradation. They are kept
    in the folder for temporary files (TMPDIR), 2 GB for 500 images and NAFNet.
    """


@study.command(short_help="Classify degradations by nearest neighbours.")
@options
def knn(**given: Any) -> None:
    """Name the degradation of an image by its five nearest neighbours; 2:1 split, five seeds.

    \b
    Examples:
      maskdcpt study knn --backbone nafnet --photos photos/
      maskdcpt study knn -m tiny --untrained -m pretrained.safetensors --photos photos/
      maskdcpt study knn --backbone swinir --folder haze=hazy/ --folder rain=rainy/ --json
    """
    from maskdcpt_cli.cli.study.view import StudyRow, show_rows, write_csv
    from maskdcpt_cli.probing.figures import draw_confusions
    from maskdcpt_cli.probing.neighbours import classify

    asked = StudyOptions(**given)
    images = read_images(asked)
    rows = [
        StudyRow(one.model, None, classify(one.distances, images))
        for one in measured(asked, images)
    ]
    if asked.output:
        draw_confusions([(row.title, row.result) for row in rows], asked.output)
    if asked.csv:
        write_csv(rows, asked.csv)
    show_rows(rows, images, size=asked.size, json=asked.json)


@study.command(short_help="Accuracy against the fraction of the image that is hidden.")
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
    """Classify as `knn` does, with more and more of each image hidden from the network.

    Every image has a mask of its own; the features of its visible places are compared.

    \b
    Example:
      maskdcpt study mask --backbone nafnet -m tiny --photos photos/ -o mask.png
    """
    from maskdcpt_cli.cli.study.view import StudyRow, curves, show_rows, write_csv
    from maskdcpt_cli.probing.figures import draw_curves
    from maskdcpt_cli.probing.neighbours import classify
    from maskdcpt_cli.probing.study import Masking

    asked = StudyOptions(**given)
    _check_grid(asked.size, patch_size, ratios)
    images = read_images(asked)
    masked = measured(asked, images, ratios=ratios, masking=Masking(method, patch_size))
    rows = [StudyRow(one.model, one.mask_ratio, classify(one.distances, images)) for one in masked]
    if asked.output:
        classes = len({image.degradation for image in images})
        draw_curves(curves(rows), asked.output, chance=1 / classes)
    if asked.csv:
        write_csv(rows, asked.csv)
    show_rows(rows, images, size=asked.size, json=asked.json)


@study.command(short_help="Draw the images so that similar features are neighbours.")
@click.option(
    "--perplexity", default=30.0, show_default=True, metavar="P",
    type=click.FloatRange(min=1), help="About how many neighbours an image is meant to have.",
)  # fmt: skip
@options
def tsne(perplexity: float, **given: Any) -> None:
    """Lay the images out in a plane by t-SNE and draw it: -o FILE. --csv writes the places.

    \b
    Example:
      maskdcpt study tsne -m tiny --untrained --photos photos/ -o tsne.png
    """
    from maskdcpt_cli.cli.study.view import StudyRow, show_rows, write_embedding
    from maskdcpt_cli.probing.figures import EmbeddingPanel, draw_embeddings
    from maskdcpt_cli.probing.neighbours import classify
    from maskdcpt_cli.probing.tsne import embed

    asked = StudyOptions(**given)
    if asked.output is None:
        raise click.UsageError("Where shall the image go? Say -o FILE.png.")
    images = read_images(asked)
    kinds = tuple(image.degradation for image in images)
    rows, panels = [], []
    for one in measured(asked, images):
        rows.append(StudyRow(one.model, None, classify(one.distances, images)))
        places = embed(one.distances, perplexity=perplexity)
        panels.append(EmbeddingPanel(rows[-1].title, places, kinds))
    draw_embeddings(panels, asked.output)
    if asked.csv:
        write_embedding(panels, images, asked.csv)
    show_rows(rows, images, size=asked.size, json=asked.json)


def _check_grid(size: int, patch_size: int, ratios: Sequence[float]) -> None:
    if size % patch_size:
        raise click.UsageError(f"--patch-size {patch_size} does not divide --size {size}.")
    patches = (size // patch_size) ** 2
    if not round(patches * (1 - ratios[-1])):
        raise click.UsageError(f"--ratios {ratios[-1]:g} hides all of the {patches} patches.")
