"""What the commands of `maskdcpt study` fraction: their options, and what to study from them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from maskdcpt_cli.cli.options import ModelName, device_option
from maskdcpt_cli.degradations import SETTINGS, find
from maskdcpt_cli.errors import MaskDCPTError

if TYPE_CHECKING:
    from maskdcpt_cli.probing.images import ProbeImage
    from maskdcpt_cli.probing.probed_models import ProbedModel
    from maskdcpt_cli.probing.study import DistancesMeasured, Masking

Command = TypeVar("Command", bound=Callable[..., Any])
BACKBONES = ("nafnet", "promptir", "restormer", "swinir")
PICTURES = (".png", ".pdf", ".svg")
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True)
class StudyOptions:
    """What was given on the command line; the fields are those of OPTIONS."""

    backbones: tuple[str, ...]
    models: tuple[str, ...]
    untrained: bool
    photos: tuple[Path, ...]
    shared: bool
    folders: tuple[str, ...]
    setting: str
    images: int
    size: int
    device: str
    output: Path | None
    csv: Path | None
    json: bool
    overwrite: bool
    quiet: bool


def _suffix(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    if path is None or path.suffix.lower() in PICTURES:
        return path
    raise click.BadParameter(f"'{path}' must end in {', '.join(PICTURES)}.", context, parameter)


OPTIONS = (
    click.option(
        "--backbone", "backbones", multiple=True, metavar="NAME", type=click.Choice(BACKBONES),
        help="A network of the released size with random weights; may be given again.",
    ),
    click.option(
        "-m", "--model", "models", multiple=True, metavar="NAME|FILE", type=ModelName(),
        help="A trained network: a name that `maskdcpt models` lists, or a file; may be given "
        "again.",
    ),
    click.option(
        "--untrained", is_flag=True,
        help="Beside each --model the same network with random weights.",
    ),
    click.option(
        "--photos", multiple=True, metavar="FOLDER", type=FOLDER,
        help="Clean photos, to be degraded in all ways of --setting; may be given again.",
    ),
    click.option(
        "--shared", is_flag=True,
        help="Degrade each photo in all ways, not in one: content tells nothing then.",
    ),
    click.option(
        "--folder", "folders", multiple=True, metavar="TYPE=FOLDER",
        help="Degraded images of a type, as haze=hazy/; given for each type, instead of "
        "--photos.",
    ),
    click.option(
        "--setting", default="5d", show_default=True,
        type=click.Choice([name for name, types in SETTINGS.items() if len(types) > 1]),
        help="Degradations of --photos.",
    ),
    click.option(
        "--images", default=100, show_default=True, metavar="N", type=click.IntRange(min=2),
        help="Images of each degradation, at most.",
    ),
    click.option(
        "--size", default=128, show_default=True, metavar="N", type=click.IntRange(min=16),
        help="Side of what is cut from the centre of an image, in pixels.",
    ),
    device_option,
    click.option(
        "-o", "--output", metavar="FILE", type=FILE, callback=_suffix,
        help="Write the image: .png, .pdf or .svg.",
    ),
    click.option("--csv", metavar="FILE", type=FILE, help="Write the figures as CSV."),
    click.option("--json", is_flag=True, help="Print JSON on standard output, and no table."),
    click.option("--overwrite", is_flag=True, help="Replace files that are there."),
    click.option("-q", "--quiet", is_flag=True, help="Say only what is wrong."),
)  # fmt: skip


def options(command: Command) -> Command:
    """Give a command all OPTIONS."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def read_images(asked: StudyOptions) -> "list[ProbeImage]":
    """The images of a study, after a look at everything that could be wrong before it."""
    from maskdcpt_cli.cli.progress import track
    from maskdcpt_cli.probing.images import SkippedFile, from_folders, from_photos
    from maskdcpt_cli.probing.neighbours import split
    from maskdcpt_cli.probing.study import require_packages

    if not (asked.backbones or asked.models):
        raise click.UsageError("Which network? Say --backbone NAME or --model NAME|FILE.")
    if bool(asked.photos) == bool(asked.folders):
        raise click.UsageError("Give either --photos FOLDER, or --folder TYPE=FOLDER of each type.")
    for path in (asked.output, asked.csv):
        if path and path.exists() and not asked.overwrite:
            raise MaskDCPTError(f"'{path}' is there already: take another name, or --overwrite.")
    require_packages()
    sizes = {"images": asked.images, "size": asked.size}
    if asked.photos:
        types = len(SETTINGS[asked.setting])
        reading = from_photos(asked.photos, asked.setting, shared=asked.shared, **sizes)
    else:
        folders = dict(_folder(text) for text in asked.folders)
        types, reading = len(folders), from_folders(folders, **sizes)
    read = list(track(reading, total=types * asked.images, noun="image", quiet=asked.quiet))
    for one in read:
        if isinstance(one, SkippedFile):
            click.echo(f"SkippedFile over: {one.reason}", err=True)
    images = [one for one in read if not isinstance(one, SkippedFile)]
    if len(images) < types * asked.images and not asked.quiet:
        click.echo(f"Note: {len(images)} images, not {types} x {asked.images}.", err=True)
    split(images, seed=0)  # so that too few are told of before the networks run
    return images


def _folder(text: str) -> tuple[str, Path]:
    word, equals, folder = text.partition("=")
    if not equals:
        raise click.UsageError(f"--folder {text}: say of which type, as haze={text}.")
    try:
        return find(word), Path(folder)
    except MaskDCPTError as error:
        raise click.UsageError(str(error)) from error


def measured(
    asked: StudyOptions,
    images: "Sequence[ProbeImage]",
    *,
    ratios: Sequence[float] = (0.0,),
    masking: "Masking | None" = None,
) -> "Iterator[DistancesMeasured]":
    """What is measured of each network, with a bar on a terminal."""
    from maskdcpt_cli.cli.progress import track
    from maskdcpt_cli.inference.backends import find_device
    from maskdcpt_cli.probing.study import DistancesMeasured, Masking, measure

    models = _models(asked)
    events = measure(
        models, images,
        device=find_device(asked.device), mask_ratios=ratios, masking=masking or Masking(),
    )  # fmt: skip
    total = len(models) * len(ratios) * (len(images) + 1)
    for event in track(events, total=total, noun="image", quiet=asked.quiet):
        if isinstance(event, DistancesMeasured):
            yield event


def _models(asked: StudyOptions) -> "list[ProbedModel]":
    from maskdcpt_cli.probing.probed_models import model, untrained, untrained_like

    models = [untrained(name) for name in asked.backbones]
    for name in asked.models:
        models += [untrained_like(name), model(name)] if asked.untrained else [model(name)]
    return models
