"""The command `maskdcpt classify`."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskdcpt_cli.cli.listed import with_listed
from maskdcpt_cli.cli.options import (
    csv_option,
    device_option,
    json_option,
    max_pixels_option,
    model_option,
    overwrite_option,
    quiet_option,
    recursive_option,
)
from maskdcpt_cli.cli.paths import NEW_FOLDER, refuse_existing
from maskdcpt_cli.files import check_inside, shown
from maskdcpt_cli.weights.zoo import DEFAULT_CLASSIFIER

if TYPE_CHECKING:
    from maskdcpt_cli.images.discover import InputFile, Missing


@dataclass(frozen=True)
class ClassifyOptions:
    """Options of the command line."""

    inputs: tuple[str, ...]
    model: str
    device: str
    csv: Path | None
    maps: Path | None
    overwrite: bool
    recursive: bool
    max_pixels: int | None
    json: bool
    quiet: bool


@click.command(short_help="Classify the degradation of photos: haze, rain, noise, or none.")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", type=click.Path())
@model_option("classifies", DEFAULT_CLASSIFIER)
@device_option
@csv_option("the probabilities of all types")
@click.option(
    "--map",
    "maps",
    metavar="FOLDER",
    type=NEW_FOLDER,
    help="Write a map of each photo, with the likeliest degradation of each tile.",
)
@overwrite_option("the file of --csv, or a map of --map,")
@recursive_option
@max_pixels_option
@json_option("one object per photo")
@quiet_option
def classify(**given: Any) -> None:
    """Classify the degradation of photos: files, folders, quoted globs, or `-` for a list of names
    on standard input.

    The answer is every type whose probability is above its threshold, or "looks clean". The network
    looks at tiles of the photo as it is, spread evenly, and of a large photo reduced. A model of
    one label, as those of the paper, answers with the likeliest type, "looks clean" if it has that
    label, or "uncertain" where no probability reaches 50 %.

    \b
    Examples:
      maskdcpt classify night.jpg
      maskdcpt classify photos/ --csv answers.csv --map maps/
      maskdcpt classify photos/ --json --model runs/pretrain-5d/final.safetensors

    \b
    Exit code: 0 all classified, 1 some failed, 2 wrong usage, 130 interrupted.
    """
    from maskdcpt_cli.images.discover import discover_photos

    options = ClassifyOptions(**given)
    refuse_existing(options.csv, overwrite=options.overwrite)
    photos, missing = discover_photos(with_listed(options.inputs), recursive=options.recursive)
    if not photos and not missing:
        names = ", ".join(repr(text) for text in options.inputs)
        raise click.UsageError(f"No image found in {names}.")
    if _classify(options, photos, missing):
        click.get_current_context().exit(1)


def _classify(
    options: ClassifyOptions, photos: "Sequence[InputFile]", missing: "Sequence[Missing]"
) -> bool:
    """Classify the photos and show what was found; return whether any failed."""
    from maskdcpt_cli.cli.classify_view import open_view
    from maskdcpt_cli.cli.progress import track
    from maskdcpt_cli.images.reader import PhotoReader

    targets = _targets(photos, options.maps) if options.maps else {}
    with PhotoReader() as reader:
        if photos:
            reader.start()  # while the network is loaded
        from maskdcpt_cli.inference.backends import find_device
        from maskdcpt_cli.inference.classify import Classified, classify_files
        from maskdcpt_cli.inference.removal import open_classifier

        classifier = None
        if photos:
            classifier = open_classifier(options.model, find_device(options.device))

        def events() -> Generator[Classified, None, None]:
            yield from (Classified(path, {}, reason) for path, reason in missing)
            if classifier:
                yield from classify_files(
                    classifier,
                    [photo.source for photo in photos],
                    max_pixels=options.max_pixels,
                    maps=targets,
                    overwrite=options.overwrite,
                    reader=reader,
                )

        total, quiet = len(photos) + len(missing), options.quiet
        view = open_view(classifier, total=total, csv=options.csv, json=options.json, quiet=quiet)
        with view:
            for one in track(events(), total=total, noun="photo", quiet=quiet or options.json):
                view.take(one)
    return view.failed


def _targets(photos: "Sequence[InputFile]", folder: Path) -> dict[Path, Path]:
    """Return the path of the map of each photo, in the same tree as the inputs."""
    from maskdcpt_cli.images.contact_sheets import MAP_SUFFIX

    targets: dict[Path, Path] = {}
    owners: dict[Path, Path] = {}
    for photo in photos:
        target = folder / photo.below / (photo.source.name + MAP_SUFFIX)
        if (first := owners.setdefault(target, photo.source)) != photo.source:
            raise click.UsageError(
                f"'{shown(first)}' and '{shown(photo.source)}' would both have their map in "
                f"'{shown(target)}': give their folders as inputs, or use a separate --map for "
                "each."
            )
        check_inside(target, folder)
        targets[photo.source] = target
    return targets
