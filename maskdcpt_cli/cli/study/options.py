"""Options shared by the commands of `maskdcpt study`, and the images and networks from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskdcpt_cli.cli.completions import NameIn
from maskdcpt_cli.cli.options import (
    Decorator,
    ModelName,
    add_options,
    csv_option,
    device_option,
    ending_in,
    json_option,
    max_pixels_option,
    overwrite_option,
    photos_option,
    usage_errors,
)
from maskdcpt_cli.cli.paths import FILE, refuse_existing
from maskdcpt_cli.degradations import SETTINGS, find
from maskdcpt_cli.files import shown
from maskdcpt_cli.models import BACKBONES

if TYPE_CHECKING:
    from maskdcpt_cli.probing.images import ProbeImage
    from maskdcpt_cli.probing.probed_models import ProbedModel
    from maskdcpt_cli.probing.study import DistancesMeasured, Masking


@dataclass(frozen=True)
class ProbeOptions:
    """Options of the images and the output of a study; the fields are those of OPTIONS."""

    photos: tuple[Path, ...]
    shared: bool
    folders: tuple[str, ...]
    setting: str
    images: int
    size: int
    device: str
    output: Path | None
    csv: Path | None
    max_pixels: int | None
    json: bool
    overwrite: bool
    quiet: bool


@dataclass(frozen=True)
class StudyOptions(ProbeOptions):
    """Options of a study of networks; the further fields are those of MODEL_OPTIONS."""

    backbones: tuple[str, ...]
    models: tuple[str, ...]
    untrained: bool

    def __post_init__(self) -> None:
        if not (self.backbones or self.models):
            raise click.UsageError("No network given: add --backbone NAME or --model NAME|FILE.")


MODEL_OPTIONS: tuple[Decorator, ...] = (
    click.option(
        "--backbone", "backbones", multiple=True, metavar="NAME", type=NameIn(lambda: BACKBONES),
        help="A network of the released size with random weights; may be repeated.",
    ),
    click.option(
        "-m", "--model", "models", multiple=True, metavar="NAME|FILE", type=ModelName(),
        help="A trained network: a name that `maskdcpt models` lists, or a file; may be "
        "repeated.",
    ),
    click.option(
        "--untrained", is_flag=True,
        help="For each --model also study the same network with random weights.",
    ),
)  # fmt: skip
OPTIONS: tuple[Decorator, ...] = (
    photos_option(
        "Clean photos, degraded in all ways of --setting; may be repeated.", multiple=True
    ),
    click.option(
        "--shared", is_flag=True,
        help="Degrade each photo in all ways, not in one, so that content gives no hint.",
    ),
    click.option(
        "--folder", "folders", multiple=True, metavar="TYPE=FOLDER",
        help="Degraded images of a type, as haze=hazy/; one for each type, instead of "
        "--photos.",
    ),
    click.option(
        "--setting", default="5d", show_default=True,
        type=NameIn(lambda: (name for name, types in SETTINGS.items() if len(types) > 1)),
        help="Degradations of --photos.",
    ),
    click.option(
        "--images", default=100, show_default=True, metavar="N", type=click.IntRange(min=2),
        help="Images of each degradation, at most.",
    ),
    click.option(
        "--size", default=128, show_default=True, metavar="N", type=click.IntRange(min=16),
        help="Side of the centre crop of an image, in pixels.",
    ),
    device_option,
    click.option(
        "-o", "--output", metavar="FILE", type=FILE, callback=ending_in(".png", ".pdf", ".svg"),
        help="Write the figure: .png, .pdf or .svg.",
    ),
    csv_option("the results"),
    max_pixels_option,
    json_option("the results"),
    overwrite_option("the file of --output or --csv"),
    click.option("-q", "--quiet", is_flag=True, help="Print results and failures alone."),
)  # fmt: skip
probe_options = add_options(OPTIONS)
study_options = add_options((*MODEL_OPTIONS, *OPTIONS))


def read_images(options: ProbeOptions) -> "list[ProbeImage]":
    """Check the options and read the images of a study.

    Raises:
        UsageError: If the options are wrong.
        MaskDCPTError: If there are too few images.
    """
    from maskdcpt_cli.cli.progress import track
    from maskdcpt_cli.data.sets import from_photos
    from maskdcpt_cli.presets.data import Synthesis
    from maskdcpt_cli.probing.images import SkippedFile, from_clean, from_degraded
    from maskdcpt_cli.probing.neighbours import split
    from maskdcpt_cli.probing.study import require_packages

    if bool(options.photos) == bool(options.folders):
        raise click.UsageError("Give either --photos FOLDER, or --folder TYPE=FOLDER of each type.")
    refuse_existing(options.output, options.csv, overwrite=options.overwrite)
    require_packages()
    sizes = {"images": options.images, "size": options.size}
    if options.shared and options.folders:
        raise click.UsageError("--shared is for --photos: --folder has its images degraded.")
    by_type = _folders(options.folders)
    sets = [
        one
        for label, folder in by_type.items() or [("", folder) for folder in options.photos]
        for one in from_photos(folder, [(label, Synthesis())], max_pixels=options.max_pixels)
    ]
    if options.photos:
        types = len(SETTINGS[options.setting])
        reading = from_clean(sets, options.setting, shared=options.shared, **sizes)
    else:
        types, reading = len(sets), from_degraded(sets, **sizes)
    read = list(track(reading, total=types * options.images, noun="image", quiet=options.quiet))
    for one in read:
        if isinstance(one, SkippedFile):
            click.echo(shown(f"Skipped: {one.reason}"), err=True)
    images = [one for one in read if not isinstance(one, SkippedFile)]
    if len(images) < types * options.images and not options.quiet:
        click.echo(f"Note: {len(images)} images, not {types} x {options.images}.", err=True)
    split(images, seed=0)  # report too few images before the networks run
    return images


def _folders(texts: Sequence[str]) -> dict[str, Path]:
    by_type: dict[str, Path] = {}
    for text in texts:
        label, folder = _folder(text)
        if label in by_type:
            raise click.UsageError(f"--folder {text}: this type has a folder already.")
        by_type[label] = folder
    return by_type


def _folder(text: str) -> tuple[str, Path]:
    word, equals, folder = text.partition("=")
    if not equals:
        raise click.UsageError(f"--folder {text}: name the type, as haze={text}.")
    with usage_errors():
        return find(word), Path(folder)


def measure_models(
    models: "Sequence[ProbedModel]",
    images: "Sequence[ProbeImage]",
    options: ProbeOptions,
    *,
    ratios: Sequence[float] = (0.0,),
    masking: "Masking | None" = None,
) -> "Iterator[DistancesMeasured]":
    """Measure each network, with a progress bar on a terminal."""
    from maskdcpt_cli.cli.progress import track
    from maskdcpt_cli.inference.backends import find_device
    from maskdcpt_cli.probing.study import DistancesMeasured, Masking, measure

    events = measure(
        models, images,
        device=find_device(options.device), mask_ratios=ratios, masking=masking or Masking(),
    )  # fmt: skip
    total = len(models) * len(ratios) * (len(images) + 1)
    for event in track(events, total=total, noun="image", quiet=options.quiet):
        if isinstance(event, DistancesMeasured):
            yield event


def networks(options: StudyOptions) -> "list[ProbedModel]":
    """Return the networks of --backbone and --model; MaskDCPTError for a file without one."""
    from maskdcpt_cli.probing.probed_models import probed_model, untrained, untrained_like

    models = [untrained(name) for name in options.backbones]
    for name in options.models:
        models += (
            [untrained_like(name), probed_model(name)]
            if options.untrained
            else [probed_model(name)]
        )
    return models
