"""The command `maskdcpt benchmark`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskdcpt_cli.cli.options import (
    ModelName,
    backend_option,
    device_option,
    precision_option,
    preset_names,
    tile_option,
)
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.scoring.protocols import DEFAULT as DEFAULT_PROTOCOL
from maskdcpt_cli.scoring.protocols import PROTOCOLS
from maskdcpt_cli.weights.zoo import DEFAULT, ZOO

if TYPE_CHECKING:
    from maskdcpt_cli.benchmarking.examples import ExampleCrop
    from maskdcpt_cli.benchmarking.published import Table
    from maskdcpt_cli.benchmarking.run import BenchmarkSettings
    from maskdcpt_cli.benchmarking.table_rows import SetResult
    from maskdcpt_cli.benchmarking.test_sets import MissingTestSet, TestSet
    from maskdcpt_cli.cli.benchmark.view import BenchmarkOutcome
    from maskdcpt_cli.inference.networks import Network

IDENTITY = "identity"  # in place of a model's name
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@dataclass(frozen=True)
class BenchmarkOptions:
    """Options of the command line."""

    preset: str | None
    model: str
    data_root: Path | None
    photos: Path | None
    pairs: tuple[tuple[Path, Path], ...]
    output: Path | None
    metrics: str | None
    protocol: str
    beside: str
    limit: int | None
    save_images: bool
    device: str
    precision: str
    backend: str
    tile: int | None
    jobs: int | None

    @property
    def label(self) -> str:
        """Name of the model."""
        return self.model if self.model in (*ZOO, IDENTITY) else Path(self.model).stem

    @property
    def name(self) -> str:
        """Name of the preset, photos or pairs, as shown on the page."""
        if self.pairs:
            return "own pairs"
        preset = Path(self.preset or "").stem
        return f"{self.photos.resolve().name} ({preset})" if self.photos else preset

    @property
    def folder(self) -> Path:
        """Folder of the results."""
        words = re.findall(r"[\w.+-]+", self.name)
        return self.output or Path("benchmarks", "-".join((*words, self.label)))


@click.command(short_help="Measure a model on test sets and compare with the published figures.")
@click.option(
    "--preset",
    metavar="NAME|FILE",
    shell_complete=preset_names,
    help="Test sets of 5d, 12d, denoise, real-world, mixed, derain, motion-deblur, or a file.",
)
@click.option(
    "-m",
    "--model",
    default=DEFAULT,
    show_default=True,
    metavar="NAME|FILE|identity",
    type=ModelName(),
    help="Model, as for restore; `identity` measures the inputs themselves.",
)
@click.option(
    "--data-root",
    metavar="FOLDER",
    type=FOLDER,
    help="Folder of the data sets of the preset.  [default: $MASKDCPT_DATA]",
)
@click.option(
    "--photos",
    metavar="FOLDER",
    type=FOLDER,
    help="Measure on your own clean photos, degraded as the preset defines.",
)
@click.option(
    "--pairs",
    multiple=True,
    nargs=2,
    metavar="LQ GT",
    type=FOLDER,
    help="Measure on your own pairs: two folders of images with the same names.",
)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the tables, the page and the results.  [default: benchmarks/PRESET-MODEL]",
)
@click.option(
    "--metrics",
    metavar="NAME,...",
    help="For example psnr,ssim,lpips,fid; without ground truth piqe,brisque.  [default: "
    "psnr,ssim and piqe]",
)
@click.option(
    "--protocol",
    default=DEFAULT_PROTOCOL.name,
    show_default=True,
    type=click.Choice(list(PROTOCOLS)),
    help="Definition of PSNR and SSIM; it is printed with the result.",
)
@click.option(
    "--beside",
    default="",
    metavar="ROW",
    help="The published row to take the difference to.  [default: the model's own, or the best]",
)
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    help="Measure only the first N images of each test set.",
)
@click.option("--save-images", is_flag=True, help="Also write the restored images to OUT.")
@device_option
@precision_option(default="fp32", remark="; lower precision changes the figures")
@backend_option
@tile_option
@click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(min=1),
    help="Threads for the metrics.  [default: one per processor]",
)
def benchmark(**given: Any) -> None:
    """Restore the test sets of a setting, measure them, and compare with the paper's figures.

    Clean test sets are degraded as in the release: Gaussian noise from NumPy's seed 0 for every
    image, clipped to [0, 1]; JPEG of quality 50. Missing test sets are listed at the end. Every
    result is saved in OUT: the same command resumes a stopped run.

    \b
    Examples:
      maskdcpt benchmark --preset 5d --model nafnet-5d --data-root data/
      maskdcpt benchmark --preset denoise --photos photos/ --model identity
      maskdcpt benchmark --pairs rainy/ clean/ --model runs/mine/last.safetensors -o rain/

    \b
    Exit code: 0 all measured, 1 some test sets or images were not, 2 wrong usage,
    130 interrupted, results saved.
    """
    options = BenchmarkOptions(**given)
    sets = _sets(options)
    if not _run(options, sets, _tables(options, sets)):
        click.get_current_context().exit(1)


def _sets(options: BenchmarkOptions) -> "Sequence[TestSet | MissingTestSet]":
    """Return the test sets: own pairs, own photos, or those of the preset."""
    from maskdcpt_cli.benchmarking.test_sets import from_pairs, from_photos, from_preset
    from maskdcpt_cli.data.sources import data_root
    from maskdcpt_cli.presets.load import load_data

    if options.pairs and (options.photos or options.preset):
        raise click.UsageError("--pairs cannot be combined with --preset or --photos.")
    if options.pairs:
        return from_pairs(options.pairs)
    if not options.preset:
        raise click.UsageError("Say which test sets: --preset NAME, or --pairs LQ GT.")
    try:
        data = load_data(options.preset)
        if options.photos:
            return from_photos(data, options.photos)
        return from_preset(data, data_root(options.data_root))
    except MaskDCPTError as error:
        raise click.UsageError(str(error)) from error


def _tables(
    options: BenchmarkOptions, sets: "Sequence[TestSet | MissingTestSet]"
) -> "Sequence[Table]":
    """Return the tables of the paper with these test sets; none for the user's own images."""
    from maskdcpt_cli.benchmarking.published import tables
    from maskdcpt_cli.benchmarking.table_rows import check_row

    own = options.pairs or options.photos
    found = [] if own else tables(options.preset or "", [one.info for one in sets])
    try:
        check_row(found, options.beside)
    except MaskDCPTError as error:
        raise click.UsageError(str(error)) from error
    return found


def _run(
    options: BenchmarkOptions, sets: "Sequence[TestSet | MissingTestSet]", tables: "Sequence[Table]"
) -> bool:
    """Measure, show and write; return whether everything was measured."""
    from maskdcpt_cli.benchmarking.result_cache import ResultCache
    from maskdcpt_cli.benchmarking.run import benchmark
    from maskdcpt_cli.benchmarking.table_rows import table_rows
    from maskdcpt_cli.cli.benchmark.files import write_files
    from maskdcpt_cli.cli.benchmark.tables import BenchmarkReport
    from maskdcpt_cli.cli.benchmark.view import BenchmarkView, print_tables, show

    settings, network = _settings(options), _network(options)
    cache = ResultCache(options.folder, made_by=f"{network.fingerprint}-{settings.protocol.name}")
    view = BenchmarkView(sets, settings.limit)
    view.say(f"{options.label}: {network.description}")
    shown = show(benchmark(sets, network.restore, settings, cache), view)
    measured = [one.result for one in shown.closed]
    protocol = f"{settings.protocol.name}: {settings.protocol.describe()}"
    report = BenchmarkReport(
        name=options.name,
        model=options.label,
        facts={"Network": network.description, "Protocol": protocol},
        table_rows=tuple(table_rows(tables, measured, model=options.label, beside=options.beside)),
        closed=shown.closed,
        examples=_examples(sets, settings, shown),
        notes=(*shown.unavailable, *(_notes(measured) if options.model == IDENTITY else ())),
    )
    print_tables(report)
    view.say(f"Written: {', '.join(str(path) for path in write_files(options.folder, report))}")
    return shown.complete


def _settings(options: BenchmarkOptions) -> "BenchmarkSettings":
    from maskdcpt_cli.benchmarking.run import BenchmarkSettings, applicable_metrics

    metrics = tuple(
        dict.fromkeys(filter(None, (options.metrics or "").replace(" ", "").split(",")))
    )
    try:
        applicable_metrics(metrics, blind=True)
    except MaskDCPTError as error:
        raise click.UsageError(str(error)) from error
    return BenchmarkSettings(
        folder=options.folder,
        metrics=metrics,
        protocol=PROTOCOLS[options.protocol],
        device="cpu" if options.device == "auto" else options.device,
        jobs=options.jobs,
        limit=options.limit,
        save_images=options.save_images,
    )


def _network(options: BenchmarkOptions) -> "Network":
    from maskdcpt_cli.inference.networks import identity, open_network
    from maskdcpt_cli.weights.zoo import load_model

    if options.model == IDENTITY:
        return identity()
    return open_network(
        load_model(options.model),
        device=options.device,
        precision=options.precision,
        backend=options.backend,
        tile=options.tile,
    )


def _notes(measured: "Sequence[SetResult]") -> tuple[str, ...]:
    """Return a note on the PSNR of noise in theory, for the identity."""
    from maskdcpt_cli.benchmarking.test_sets import noise_psnr

    levels = [one.info.level for one in measured if one.figures and one.info.degradation == "GN"]
    expected = [f"{noise_psnr(level):.2f} at {level:g}" for level in dict.fromkeys(levels) if level]
    if not expected:
        return ()
    return (
        f"In theory, noise has a PSNR of 20 log10(255 / sigma) dB: {', '.join(expected)}. "
        "Clipping it to [0, 1], as in the release, removes some noise in bright and dark regions.",
    )


def _examples(
    sets: "Sequence[TestSet | MissingTestSet]",
    settings: "BenchmarkSettings",
    shown: "BenchmarkOutcome",
) -> "dict[str, list[tuple[ExampleCrop, Mapping[str, float]]]]":
    """Return the example crops of each test set, with the figures of the image."""
    from maskdcpt_cli.benchmarking import examples
    from maskdcpt_cli.benchmarking.test_sets import TestSet

    found: dict[str, list[tuple[ExampleCrop, Mapping[str, float]]]] = {}
    for one in sets:
        if isinstance(one, TestSet):
            names = [one.name(index) for index in range(min(len(one), settings.limit or len(one)))]
            found[one.title] = [
                (example, shown.values.get((one.key, example.name), {}))
                for example in examples.find_examples(settings.folder, one.key, names)
            ]
    return found
