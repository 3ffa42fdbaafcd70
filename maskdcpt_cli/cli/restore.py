"""The command `maskdcpt restore`."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from maskdcpt_cli.cli.listed import with_listed
from maskdcpt_cli.cli.networks import is_exported, load_network
from maskdcpt_cli.cli.options import (
    Number,
    backend_option,
    device_option,
    ending_in,
    json_option,
    max_pixels_option,
    model_option,
    precision_option,
    quiet_option,
    recursive_option,
    tile_option,
    usage_errors,
)
from maskdcpt_cli.cli.paths import FILE, NewPath
from maskdcpt_cli.cli.removal import (
    classifier_option,
    keep_option,
    plan_in_words,
    remove_option,
)
from maskdcpt_cli.inference.events import Event, Remove, Settings
from maskdcpt_cli.inference.result_log import Existing
from maskdcpt_cli.training.launcher import launched, meeting_point
from maskdcpt_cli.weights.zoo import DEFAULT, DEFAULT_CLASSIFIER, DEFAULT_OF_ALL, label_of

if TYPE_CHECKING:
    from maskdcpt_cli.cli.restore_view import RestoreView
    from maskdcpt_cli.images.reader import PhotoReader
    from maskdcpt_cli.inference.backends import Engine
    from maskdcpt_cli.inference.backends.exported import ExportedNetwork
    from maskdcpt_cli.inference.plan import Plan
    from maskdcpt_cli.models import Backbone
    from maskdcpt_cli.weights.building import DegradationClassifier

    Restores = Backbone | ExportedNetwork

DEFAULTS = Settings()
# Processes of torchrun or srun share the photos, and the main one reports the events of all.
LAUNCH = launched()
SHARED, IS_MAIN_PROCESS = LAUNCH.world_size > 1, LAUNCH.rank == 0


@dataclass(frozen=True)
class RestoreOptions:
    """Options of the command line."""

    inputs: tuple[str, ...]
    output: Path
    model: str
    remove: Remove
    keep: tuple[str, ...]
    classifier: str | None
    device: str
    precision: str
    backend: str
    tile: int | None
    overlap: int | None
    strength: float
    tta: bool
    format: str
    quality: int | None
    name: str
    existing: Existing
    strip: bool
    compare: bool
    report: Path | None
    recursive: bool
    max_pixels: int | None
    json: bool
    quiet: bool

    @property
    def label(self) -> str:
        """Name of the model."""
        return label_of(self.model)

    @property
    def settings(self) -> Settings:
        """What changes the pixels or the files of results."""
        return Settings(
            tile=self.tile,
            overlap=self.overlap,
            strength=self.strength,
            tta=self.tta,
            quality=self.quality,
            strip=self.strip,
            compare=self.compare,
            max_pixels=self.max_pixels,
            remove=self.remove,
            keep=self.keep,
        )


def _default_model() -> str:
    """Return the model that does best what was asked."""
    context = click.get_current_context()
    given = {
        name: context.params[name]
        for name in ("remove", "keep", "classifier")
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    return DEFAULT_OF_ALL if given == {"remove": "all"} else DEFAULT


@click.command(short_help="Restore photos and folders of photos.")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", type=click.Path())
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    type=NewPath(),
    help="Folder of the results; for a single photo it may also be a file.",
)
@model_option("restores", None, shown=f"{DEFAULT}, or {DEFAULT_OF_ALL} with --remove all")
@remove_option
@keep_option
@classifier_option
@device_option
@precision_option(default="auto")
@backend_option
@tile_option
@click.option(
    "--overlap",
    metavar="N",
    type=click.IntRange(min=0),
    help="Pixels that neighbouring tiles share.  [default: 128, or a quarter of --tile]",
)
@click.option(
    "--strength",
    default=DEFAULTS.strength,
    show_default=True,
    metavar="0..1",
    type=Number(0, 1),
    help="Blend with the input: 0 leaves the photo unchanged.",
)
@click.option(
    "--tta",
    is_flag=True,
    help="Average over eight flips and rotations: slightly better, eight times slower.",
)
@click.option(
    "--format",
    default="same",
    show_default=True,
    type=click.Choice(["same", "png", "jpeg", "webp", "tiff"]),
    help="File format of the results.",
)
@click.option(
    "--quality",
    metavar="1..100",
    type=click.IntRange(1, 100),
    help="Quality of JPEG, WebP and AVIF results.  [default: 95]",
)
@click.option(
    "--name",
    default="{stem}{suffix}",
    show_default=True,
    metavar="TEMPLATE",
    help="Name of a result, from {stem}, {suffix} and {model}.",
)
@click.option(
    "--existing",
    default="skip",
    show_default=True,
    type=click.Choice(["skip", "overwrite", "error"]),
    help="Where a result exists: skip keeps one of the same model and settings, "
    "and fails on any other file.",
)
@click.option("--strip", is_flag=True, help="Write results without EXIF, XMP and colour profile.")
@click.option("--compare", is_flag=True, help="Write a before/after sheet beside each result.")
@click.option(
    "--report",
    metavar="FILE.html",
    callback=ending_in(".html", ".htm"),
    type=FILE,
    help="Write a page with a before/after slider for each photo, 500 at most.",
)
@recursive_option
@max_pixels_option
@json_option("one object per photo")
@quiet_option
def restore(**given: Any) -> None:
    """Restore photos: files, folders, quoted globs, or `-` for a list of names on standard input.

    Results keep the bit depth, colour profile, EXIF and transparency of their photos. No other file
    is overwritten unless requested, and a photo that fails does not stop the others.

    \b
    Examples:
      maskdcpt restore photos/ -o restored/
      maskdcpt restore night.jpg -o bright.jpg --strength 0.8
      maskdcpt restore hazy.jpg -o clear.jpg --remove haze
      maskdcpt restore "scans/**/*.tif" -o out/ --format png --report out/report.html
      find in -name "*.jpg" -newer last | maskdcpt restore - -o out/ --json

    \b
    Exit code: 0 all restored, 1 some failed, 2 wrong usage, 130 interrupted.
    Under torchrun 0 also if some failed: the summary and --json list them.
    """
    from maskdcpt_cli.cli.report import check_report, write_report
    from maskdcpt_cli.cli.restore_view import BAD, RestoreView, open_view, show
    from maskdcpt_cli.images.reader import PhotoReader

    options = RestoreOptions(**given | {"model": given["model"] or _default_model()})
    if options.tile and options.overlap is not None and 2 * options.overlap >= options.tile:
        raise click.UsageError(
            f"--overlap {options.overlap} must be less than half of --tile {options.tile}."
        )
    if options.keep and not isinstance(options.remove, str):
        raise click.UsageError("--keep goes with --remove auto or all: types by name are exact.")
    if options.existing != "overwrite":
        check_report(options.report)
    todo = _plan(options)
    with PhotoReader() as reader:
        view = RestoreView()
        if IS_MAIN_PROCESS:
            view = open_view(todo, json=options.json, quiet=options.quiet, reader=reader)
        resumes = options.existing == "skip"
        outcomes = show(_events(options, todo, view, reader), todo, view, resumes=resumes)
        if options.report and IS_MAIN_PROCESS:
            write_report(
                options.report,
                outcomes,
                model=options.label,
                settings=options.settings,
                reader=reader,
            )
    failed = any(outcome.status in BAD for outcome in outcomes)
    if failed and not (SHARED and LAUNCH.by == "torchrun"):  # which would print a traceback
        click.get_current_context().exit(1)


def _plan(options: RestoreOptions) -> "Plan":
    from maskdcpt_cli.inference.plan import PlanError, plan

    if SHARED and "-" in options.inputs:
        raise click.UsageError(f"Under {LAUNCH.by} the list cannot be read from standard input.")
    try:
        todo = plan(
            with_listed(options.inputs),
            options.output,
            model=options.label,
            recursive=options.recursive,
            name=options.name,
            format=options.format,
        )
    except PlanError as error:
        raise click.UsageError(str(error)) from error
    return todo if IS_MAIN_PROCESS else replace(todo, problems=())


def _events(
    options: RestoreOptions, todo: "Plan", view: "RestoreView", reader: "PhotoReader"
) -> Generator[Event, None, None]:
    """Yield the events of the photos; without a photo to restore, no network is loaded."""
    if not todo.jobs:
        return
    reader.start()  # while the network is loaded
    from maskdcpt_cli.inference.restore import restore_files

    model = _load_network(options)
    engine = _open_engine(options, model)
    classifier = _load_classifier(options, model, engine.device)
    asks = plan_in_words(options.settings, label_of(options.classifier or DEFAULT_CLASSIFIER))
    about = f"{options.label}: {engine.describe()}"
    view.opened(f"{about}; {asks}" if model.request_types else about)
    restored = partial(
        restore_files,
        engine,
        settings=options.settings,
        existing=options.existing,
        reader=reader,
        classifier=classifier,
    )
    if not SHARED:
        yield from restored(todo.jobs)
        return
    from maskdcpt_cli.inference.sharing import Share

    host, port = meeting_point()
    share = Share.join(LAUNCH.rank, LAUNCH.world_size, host=host, port=port)
    yield from share.gather(restored(share.take(todo.jobs)))


def _load_network(options: RestoreOptions) -> "Restores":
    from maskdcpt_cli.inference.removal import check_removal, needs_classifier

    model = load_network(options.model)
    with usage_errors():
        check_removal(model, options.settings)
    if options.classifier and not needs_classifier(model, options.settings):
        raise click.UsageError(
            "--classifier is for --remove auto, and for rain, snow, drops and blur that are named, "
            "of a request-conditioned model."
        )
    return model


def _load_classifier(
    options: RestoreOptions, model: "Restores", device: str
) -> "DegradationClassifier | None":
    """Return the classifier on a device, if it decides what is removed."""
    from maskdcpt_cli.inference.removal import needs_classifier, open_classifier

    if not needs_classifier(model, options.settings):
        return None
    return open_classifier(options.classifier or DEFAULT_CLASSIFIER, device)


def _open_engine(options: RestoreOptions, model: "Restores") -> "Engine":
    from maskdcpt_cli.inference.backends import open_engine

    device = options.device
    on_gpu = options.backend in ("auto", "torch") and not is_exported(options.model)
    if SHARED and device in ("auto", "cuda") and on_gpu:
        device = _own_gpu() or device
    return open_engine(model, device=device, precision=options.precision, backend=options.backend)


def _own_gpu() -> str | None:
    """Return the GPU of this process among those that share the photos."""
    import torch

    from maskdcpt_cli.training.distributed import gpu_of

    return f"cuda:{gpu_of(LAUNCH)}" if torch.cuda.is_available() else None
