"""The command `maskdcpt study`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from maskdcpt_cli.cli.options import Number
from maskdcpt_cli.cli.study.ablation import ablation
from maskdcpt_cli.cli.study.options import (
    ProbeOptions,
    StudyOptions,
    measure_models,
    networks,
    probe_options,
    read_images,
    study_options,
)

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


@click.group(short_help="Measure how features separate degradations (Sec. III).")
def study() -> None:
    """Measure how well the features of a network separate degradations: the preliminary study
    (Sec. III) on any weights.

    Features are the input of the restoration head, for images of each degradation. They are stored
    in the folder for temporary files (TMPDIR), 2 GB for 500 images and NAFNet. `ablation` is
    another study of the paper: it trains networks.
    """


study.add_command(ablation)


@study.command(short_help="Classify degradations by nearest neighbours.")
@study_options
def knn(**given: Any) -> None:
    """Classify the degradation of an image by its five nearest neighbours; 2:1 split, five seeds.

    \b
    Examples:
      maskdcpt study knn --backbone nafnet --photos photos/
      maskdcpt study knn -m tiny --untrained -m pretrained.safetensors --photos photos/
      maskdcpt study knn --backbone swinir --folder haze=hazy/ --folder rain=rainy/ --json
    """
    from maskdcpt_cli.cli.study.view import StudyRow, show_study
    from maskdcpt_cli.probing.figures import draw_confusions
    from maskdcpt_cli.probing.neighbours import classify

    options = StudyOptions(**given)
    images = read_images(options)
    rows = [
        StudyRow(one.model, None, classify(one.distances, images))
        for one in measure_models(networks(options), images, options)
    ]
    if options.output:
        draw_confusions([(row.title, row.result) for row in rows], options.output)
    show_study(rows, images, options)


@study.command(short_help="Measure accuracy against mask ratio.")
@click.option(
    "--ratios", default=RATIOS, show_default=True, metavar="R,R...", callback=_ratios,
    help="Mask ratios, from 0 to below 1.",
)  # fmt: skip
@click.option(
    "--method", default="random", show_default=True,
    type=click.Choice(["random", "square", "block-wise"]), help="Mask pattern.",
)  # fmt: skip
@click.option(
    "--patch-size", default=16, show_default=True, metavar="N", type=click.IntRange(min=1),
    help="Side of a patch, in pixels.",
)  # fmt: skip
@study_options
def mask(ratios: tuple[float, ...], method: str, patch_size: int, **given: Any) -> None:
    """Classify as `knn` does, at increasing mask ratios.

    Each image has its own mask; the features at its visible positions are compared.

    \b
    Example:
      maskdcpt study mask --backbone nafnet -m tiny --photos photos/ -o mask.png
    """
    from maskdcpt_cli.cli.study.view import StudyRow, mask_curves, show_curves
    from maskdcpt_cli.probing.neighbours import classify
    from maskdcpt_cli.probing.study import Masking

    options = StudyOptions(**given)
    _check_grid(options.size, patch_size, ratios)
    images = read_images(options)
    masked = measure_models(
        networks(options), images, options, ratios=ratios, masking=Masking(method, patch_size)
    )
    rows = [StudyRow(one.model, one.mask_ratio, classify(one.distances, images)) for one in masked]
    show_curves(rows, mask_curves(rows), images, options, xlabel="mask ratio, %")


@study.command(short_help="Measure accuracy over training.")
@click.argument(
    "trainings", nargs=-1, required=True, metavar="RUN|FILE...",
    type=click.Path(path_type=Path, exists=True),
)  # fmt: skip
@probe_options
def training_curve(trainings: tuple[Path, ...], **given: Any) -> None:
    """Classify as `knn` does, over the training of a network (Fig. 2; Table X for pre-training).

    RUN is the folder of a run with --set training.keep_every=N: the network that it began with,
    its kept weights and its result. Of a FILE of weights, the number at the end of its name is the
    iteration; files in one folder are of one training.

    \b
    Example:
      maskdcpt study training-curve runs/finetune-5d --photos photos/ -o curve.png
    """
    from maskdcpt_cli.cli.study.view import StudyRow, show_curves, training_curves
    from maskdcpt_cli.probing.neighbours import classify
    from maskdcpt_cli.probing.training_curve import trained_models

    options = ProbeOptions(**given)
    images = read_images(options)
    measured = measure_models(trained_models(trainings), images, options)
    rows = [StudyRow(one.model, None, classify(one.distances, images)) for one in measured]
    show_curves(rows, training_curves(rows), images, options, xlabel="iteration")


@study.command(short_help="Draw a t-SNE embedding of the images.")
@click.option(
    "--perplexity", default=30.0, show_default=True, metavar="P",
    type=Number(min=1), help="About the number of neighbours of an image.",
)  # fmt: skip
@study_options
def tsne(perplexity: float, **given: Any) -> None:
    """Embed the images in the plane by t-SNE and draw it: -o FILE. --csv writes the coordinates.

    \b
    Example:
      maskdcpt study tsne -m tiny --untrained --photos photos/ -o tsne.png
    """
    from maskdcpt_cli.cli.study.view import StudyRow, show_rows, write_embedding
    from maskdcpt_cli.probing.figures import EmbeddingPanel, draw_embeddings
    from maskdcpt_cli.probing.neighbours import classify
    from maskdcpt_cli.probing.tsne import embed

    options = StudyOptions(**given)
    if options.output is None:
        raise click.UsageError("No file for the figure: add -o FILE.png.")
    images = read_images(options)
    degradations = tuple(image.degradation for image in images)
    rows, panels = [], []
    for one in measure_models(networks(options), images, options):
        rows.append(StudyRow(one.model, None, classify(one.distances, images)))
        embedding = embed(one.distances, perplexity=perplexity)
        panels.append(EmbeddingPanel(rows[-1].title, embedding, degradations))
    draw_embeddings(panels, options.output)
    if options.csv:
        write_embedding(panels, images, options.csv)
    show_rows(rows, images, size=options.size, json=options.json)


def _check_grid(size: int, patch_size: int, ratios: Sequence[float]) -> None:
    if size % patch_size:
        raise click.UsageError(f"--patch-size {patch_size} does not divide --size {size}.")
    patches = (size // patch_size) ** 2
    if not round(patches * (1 - ratios[-1])):
        raise click.UsageError(f"--ratios {ratios[-1]:g} masks all of the {patches} patches.")
