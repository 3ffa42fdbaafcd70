"""The command `maskdcpt benchmark`."""

import re
import zlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskdcpt_cli.cli.networks import load_network
from maskdcpt_cli.cli.options import (
    ModelName,
    backend_option,
    data_preset_option,
    data_root_option,
    device_option,
    jobs_option,
    max_pixels_option,
    metrics_option,
    output_folder_option,
    pairs_option,
    photos_option,
    precision_option,
    protocol_option,
    tile_option,
    usage_errors,
)
from maskdcpt_cli.scoring.protocols import PROTOCOLS
from maskdcpt_cli.weights.zoo import DEFAULT, label_of

if TYPE_CHECKING:
    from maskdcpt_cli.benchmarking.examples import ExampleCrop
    from maskdcpt_cli.benchmarking.published import PaperTable
    from maskdcpt_cli.benchmarking.run import BenchmarkSettings
    from maskdcpt_cli.benchmarking.table_rows import SetResult
    from maskdcpt_cli.cli.benchmark.view import BenchmarkOutcome
    from maskdcpt_cli.data.sets import ImageSet
    from maskdcpt_cli.inference.networks import Restorer

IDENTITY = "identity"  # in place of a model's name


LONGEST = 80  # characters of the name of a folder that tell what was measured


@dataclass(frozen=True)
class BenchmarkOptions:
    """Options of the command line."""

    preset: str | None
    model: str
    data_root: Path | None
    photos: Path | None
    pairs: tuple[tuple[Path, Path], ...]
    output: Path | None
    metrics: tuple[str, ...]
    protocol: str
    beside: str
    limit: int | None
    save_images: bool
    device: str
    precision: str
    backend: str
    tile: int | None
    jobs: int | None
    max_pixels: int | None

    @property
    def label(self) -> str:
        """Name of the model."""
        return label_of(self.model)

    @property
    def name(self) -> str:
        """Name of the preset, photos or pairs, as shown on the page."""
        if self.pairs:
            lq = dict.fromkeys("/".join(lq.resolve().parts[-2:]) for lq, _ in self.pairs)
            return f"own pairs ({', '.join(lq)})"
        preset = Path(self.preset or "").stem
        return f"{self.photos.resolve().name} ({preset})" if self.photos else preset

    @property
    def folder(self) -> Path:
        """Folder of the results."""
        name = "-".join(re.findall(r"[\w.+-]+", self.name))
        if self.pairs:  # of which several may have one name
            paths = "\n".join(str(one.resolve()) for pair in self.pairs for one in pair)
            name = f"{name[:LONGEST]}-{zlib.crc32(paths.encode(errors='surrogateescape')):08x}"
        return self.output or Path("results", f"{name[: LONGEST + 9]}-{self.label}")


@click.command(short_help="Measure a model on test sets and compare with the published figures.")
@data_preset_option("whose test sets to measure, as 5d, 12d, denoise or real-world")
@click.option(
    "-m",
    "--model",
    default=DEFAULT,
    show_default=True,
    metavar="NAME|FILE|identity",
    type=ModelName(),
    help="Model, as for restore; `identity` measures the inputs themselves.",
)
@data_root_option
@photos_option("Measure on your own clean photos, degraded as --data-preset defines.")
@pairs_option("Measure on your own pairs", multiple=True)
@output_folder_option("the tables, the page and the results", default="results/PRESET-MODEL")
@metrics_option(
    "pyiqa's names, as psnr,ssim,lpips,fid; without ground truth piqe,brisque.  "
    "[default: psnr,ssim; without ground truth piqe]"
)
@protocol_option
@click.option(
    "--beside",
    default="",
    metavar="ROW",
    help="Published row that the difference is to.  [default: the model's own, or the best]",
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
@jobs_option("Images measured", default="one per processor, at most 8")
@max_pixels_option
def benchmark(**given: Any) -> None:
    """Restore the test sets of a setting, measure them, and compare with the paper's figures.

    Clean test sets are degraded as in the release: Gaussian noise from NumPy's seed 0 for every
    image, clipped to [0, 1]; JPEG of quality 50. Missing test sets are listed at the end. Every
    result is saved in OUT: the same command resumes a stopped run.

    \b
    Examples:
      maskdcpt benchmark --data-preset 5d --model nafnet-5d --data-root data/
      maskdcpt benchmark --data-preset denoise --photos photos/ --model identity
      maskdcpt benchmark --pairs rainy/ clean/ --model runs/mine/last.safetensors -o rain/

    \b
    Exit code: 0 all measured, 1 some test sets or images were not, 2 wrong usage,
    130 interrupted, results saved.
    """
    options = BenchmarkOptions(**given)
    sets = _sets(options)
    if not _run(options, sets, _tables(options, sets)):
        click.get_current_context().exit(1)


def _sets(options: BenchmarkOptions) -> "Sequence[ImageSet]":
    """Return the test sets: own pairs, own photos, or those of the preset."""
    from maskdcpt_cli.benchmarking.test_sets import find_sets

    if options.pairs and (options.photos or options.preset):
        raise click.UsageError("--pairs cannot be combined with --data-preset or --photos.")
    if not options.pairs and not options.preset:
        raise click.UsageError("Name the test sets: --data-preset NAME, or --pairs LQ GT.")
    with nullcontext() if options.pairs else usage_errors():
        return find_sets(
            options.preset,
            root=options.data_root,
            photos=options.photos,
            pairs=options.pairs,
            max_pixels=options.max_pixels,
        )


def _tables(options: BenchmarkOptions, sets: "Sequence[ImageSet]") -> "Sequence[PaperTable]":
    """Return the tables of the paper with these test sets; none for the user's own images."""
    from maskdcpt_cli.benchmarking.published import tables
    from maskdcpt_cli.benchmarking.table_rows import check_row
    from maskdcpt_cli.benchmarking.test_sets import info

    own = options.pairs or options.photos
    found = [] if own else tables(options.preset or "", [info(one) for one in sets])
    with usage_errors():
        check_row(found, options.beside)
    return found


def _run(
    options: BenchmarkOptions,
    sets: "Sequence[ImageSet]",
    tables: "Sequence[PaperTable]",
) -> bool:
    """Measure, show and write; return whether everything was measured."""
    from maskdcpt_cli.benchmarking.run import measure, open_cache
    from maskdcpt_cli.benchmarking.table_rows import table_rows
    from maskdcpt_cli.cli.benchmark.files import check_folder, write_files
    from maskdcpt_cli.cli.benchmark.tables import BenchmarkReport
    from maskdcpt_cli.cli.benchmark.view import BenchmarkView, print_tables, show
    from maskdcpt_cli.cli.console import say

    settings, network = _settings(options), _network(options)
    check_folder(options.folder)
    cache = open_cache(network, settings)
    view = BenchmarkView(sets, settings.limit)
    say(view.console, f"{options.label}: {network.description}")
    shown = show(measure(sets, network.restore, settings, cache), view)
    measured = [one.result for one in shown.finished]
    protocol = f"{settings.protocol.name}: {settings.protocol.describe()}"
    report = BenchmarkReport(
        name=options.name,
        model=options.label,
        facts={"Network": network.description, "Protocol": protocol},
        table_rows=tuple(table_rows(tables, measured, model=options.label, beside=options.beside)),
        finished=shown.finished,
        examples=_examples(sets, settings, shown),
        notes=(*shown.unavailable, *(_notes(measured) if options.model == IDENTITY else ())),
    )
    paths = write_files(options.folder, report)  # first, as the reader of a pipe may close it
    print_tables(report)
    say(view.console, f"Written: {', '.join(str(path) for path in paths)}")
    return shown.complete


def _settings(options: BenchmarkOptions) -> "BenchmarkSettings":
    from maskdcpt_cli.benchmarking.run import BenchmarkSettings, applicable_metrics

    with usage_errors():  # for unknown names
        applicable_metrics(options.metrics, blind=True)
    return BenchmarkSettings(
        folder=options.folder,
        metrics=options.metrics,
        protocol=PROTOCOLS[options.protocol],
        device="cpu" if options.device == "auto" else options.device,
        jobs=options.jobs,
        limit=options.limit,
        save_images=options.save_images,
    )


def _network(options: BenchmarkOptions) -> "Restorer":
    from maskdcpt_cli.inference.networks import identity, open_network

    if options.model == IDENTITY:
        return identity()
    return open_network(
        load_network(options.model),
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
    sets: "Sequence[ImageSet]",
    settings: "BenchmarkSettings",
    shown: "BenchmarkOutcome",
) -> "dict[str, list[tuple[ExampleCrop, Mapping[str, float]]]]":
    """Return the example crops of each test set, with the figures of the image."""
    from maskdcpt_cli.benchmarking import examples
    from maskdcpt_cli.benchmarking.test_sets import key, sample_name, title

    found: dict[str, list[tuple[ExampleCrop, Mapping[str, float]]]] = {}
    for one in sets:
        count = min(len(one), settings.limit or len(one))
        names = [sample_name(one, index) for index in range(count)]
        found[title(one)] = [
            (example, shown.values.get((key(one), example.name), {}))
            for example in examples.find_examples(settings.folder, key(one), names)
        ]
    return found
