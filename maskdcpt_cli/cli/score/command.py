"""The command `maskdcpt score`."""

import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from maskdcpt_cli.cli.options import (
    csv_option,
    jobs_option,
    json_option,
    max_pixels_option,
    metric_device_option,
    metrics_option,
    overwrite_option,
    pair_by_option,
    protocol_option,
    quiet_option,
    usage_errors,
)
from maskdcpt_cli.cli.paths import FILE, refuse_existing
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import shown
from maskdcpt_cli.scoring.metrics import default_metrics
from maskdcpt_cli.scoring.protocols import PROTOCOLS, Protocol

if TYPE_CHECKING:
    from maskdcpt_cli.cli.score.report import Bound, ScoreReport
    from maskdcpt_cli.images.reader import PhotoReader
    from maskdcpt_cli.scoring.pairing import Pairing
    from maskdcpt_cli.scoring.scorer import Scorer

NUMBER = r"[-+]?\d+(?:\.\d+)?"


@dataclass(frozen=True)
class ScoreOptions:
    """Options of the command line."""

    pred: Path
    gt: Path | None
    metrics: tuple[str, ...]
    protocol: str
    crop: int | None
    pair_by: str
    least: tuple[str, ...]
    most: tuple[str, ...]
    csv: Path | None
    html: Path | None
    json: bool
    overwrite: bool
    device: str
    jobs: int | None
    max_pixels: int | None
    quiet: bool

    @property
    def chosen_protocol(self) -> Protocol:
        """The protocol, with the border of --crop."""
        protocol = PROTOCOLS[self.protocol]
        return protocol if self.crop is None else protocol._replace(border=self.crop)


@click.command(short_help="Measure restored images: PSNR, SSIM, LPIPS and others.")
@click.argument("pred", type=click.Path(path_type=Path, exists=True))
@click.argument("gt", required=False, type=click.Path(path_type=Path, exists=True))
@metrics_option(
    "pyiqa's names, as psnr,ssim,lpips,fid or, without GT, piqe,brisque,niqe,musiq.  "
    "[default: psnr,ssim; without GT piqe]"
)
@protocol_option
@click.option(
    "--crop",
    metavar="N",
    type=click.IntRange(min=0),
    help="Pixels cropped from each side for PSNR and SSIM, instead of the protocol's.",
)
@pair_by_option
@click.option(
    "--min",
    "least",
    multiple=True,
    metavar="METRIC=N",
    help="Fail if the mean is below N, as psnr=30; may be repeated.",
)
@click.option(
    "--max",
    "most",
    multiple=True,
    metavar="METRIC=N",
    help="Fail if the mean is above N, for metrics where lower is better, as lpips=0.2; may be "
    "repeated.",
)
@csv_option("a row per image")
@click.option(
    "--html",
    metavar="FILE",
    type=FILE,
    help="Write a page with the images and error maps, the worst first.",
)
@json_option("all results")
@overwrite_option("the file of --csv or --html")
@metric_device_option
@jobs_option("Images measured", default="one per processor, at most 8")
@max_pixels_option
@quiet_option
def score(**given: Any) -> None:
    """Measure the restored images in PRED, a folder or a file, against those in GT.

    Metrics are pyiqa's, under its own names. Images are paired by name, with any suffix;
    those without a partner are listed. Without GT, use no-reference metrics. Files that cannot be
    measured do not stop the others.

    \b
    Examples:
      maskdcpt score restored/ clean/
      maskdcpt score restored/ clean/ --metrics psnr,ssim,lpips --html score.html
      maskdcpt score dehazed/ gt/ --pair-by prefix --csv score.csv
      maskdcpt score restored/ clean/ --min psnr=30 --max lpips=0.2
      maskdcpt score photos/ --metrics piqe,brisque

    \b
    Exit code: 0 all measured, 1 something failed or is out of bounds, 2 wrong usage,
    130 interrupted.
    """
    from maskdcpt_cli.cli.score.page import write_scores
    from maskdcpt_cli.cli.score.report import write_csv
    from maskdcpt_cli.cli.score.view import show
    from maskdcpt_cli.images.reader import PhotoReader

    options = ScoreOptions(**given)
    if options.csv and options.csv == options.html:
        raise click.UsageError("--csv and --html name the same file.")
    refuse_existing(options.csv, options.html, overwrite=options.overwrite)
    with PhotoReader() as reader:
        report = _report(options, reader)
        try:  # files first, as the reader of a pipe may close it
            if options.csv:
                write_csv(options.csv, report)
            if options.html:
                write_scores(options.html, report, reader=reader)
        finally:
            show(report, json=options.json, quiet=options.quiet)
    if report.failed:
        click.get_current_context().exit(1)


def _bounds(option: str, texts: Sequence[str]) -> "list[Bound]":
    from maskdcpt_cli.cli.score.report import Bound
    from maskdcpt_cli.scoring.metrics import find_metric

    found = []
    for text in texts:
        match = re.fullmatch(rf"([^=]+)=({NUMBER})", text)
        if match is None:
            raise click.UsageError(
                f"--{option} {text}: expected a metric and a number, as psnr=30."
            )
        try:
            metric = find_metric(match[1])
        except MaskDCPTError as error:
            raise click.UsageError(f"--{option} {text}: {error}") from error
        right: Literal["min", "max"] = "min" if metric.higher_is_better else "max"
        if option != right:
            better = "higher" if metric.higher_is_better else "lower"
            raise click.UsageError(
                f"--{option} {text}: {match[1]} is better when {better}, type --{right} {text}."
            )
        found.append(Bound(match[1], right, float(match[2])))
    return found


def _report(options: ScoreOptions, reader: "PhotoReader") -> "ScoreReport":
    """Pair and measure the images, and summarise the values."""
    from maskdcpt_cli.cli.progress import track
    from maskdcpt_cli.cli.score.report import ScoreReport
    from maskdcpt_cli.scoring.summary import summarise

    bounds = [*_bounds("min", options.least), *_bounds("max", options.most)]
    pairing = _paired(options.pred, options.gt, pair_by=options.pair_by)
    requested = options.metrics or default_metrics(with_gt=options.gt is not None)
    reader.start()  # while the metrics are opened
    scorer = _opened(options, [*requested, *(bound.metric for bound in bounds)], reader)
    events = scorer.score(pairing.items)
    quiet = options.quiet or options.json
    scored = tuple(track(events, total=len(pairing.items), noun="image", quiet=quiet))
    return ScoreReport(
        options.pred,
        options.gt,
        pairing,
        options.chosen_protocol,
        scorer.metrics,
        scored,
        tuple(summarise(scorer.metrics, scored, scorer.over_set)),
        scorer.unavailable,
        tuple(bounds),
        options.max_pixels,
    )


def _paired(pred: Path, gt: Path | None, *, pair_by: str) -> "Pairing":
    from maskdcpt_cli.scoring.pairing import pair_files

    with usage_errors():
        pairing = pair_files(pred, gt, by=pair_by)
    if not pairing.items:
        raise click.UsageError(
            f"No image in '{shown(pred)}' has a ground truth with the same name in "
            f"'{shown(gt or '')}'. {pairing.hint}"
        )
    return pairing


def _opened(options: ScoreOptions, names: Sequence[str], reader: "PhotoReader") -> "Scorer":
    """Open the metrics; importing pyiqa takes seconds, downloading weights more."""
    from maskdcpt_cli.cli.console import is_interactive, message_console

    console, device = message_console(), _find_device(options.device)
    shows_status = is_interactive(console) and not (options.quiet or options.json)
    with (
        console.status("Opening the metrics") if shows_status else nullcontext(),
        usage_errors(),
    ):
        from maskdcpt_cli.images.heap import keep_freed_memory
        from maskdcpt_cli.scoring.scorer import Scorer

        keep_freed_memory()
        return Scorer(
            list(dict.fromkeys(names)),
            protocol=options.chosen_protocol,
            with_gt=options.gt is not None,
            jobs=options.jobs,
            device=device,
            max_pixels=options.max_pixels,
            reader=reader,
        )


def _find_device(name: str) -> str:
    import torch

    from maskdcpt_cli.inference.backends import find_device

    if name == "auto":  # metrics take float64, which Apple's GPUs do not have
        return "cuda" if torch.cuda.is_available() else "cpu"
    return find_device(name)
