"""The command `maskdcpt study ablation`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from maskdcpt_cli.cli.completions import NameIn
from maskdcpt_cli.cli.options import (
    csv_option,
    device_option,
    json_option,
    overwrite_option,
    photos_option,
    training_data_root_option,
)
from maskdcpt_cli.cli.paths import NEW_FOLDER, refuse_existing
from maskdcpt_cli.degradations import SETTINGS
from maskdcpt_cli.models import BACKBONES

TABLES = ("mask-ratio", "patch-size", "method")


@dataclass(frozen=True)
class AblationOptions:
    """Options of the command line."""

    table: str
    preset: str
    backbone: str
    seeds: int
    pretrain_overrides: tuple[str, ...]
    finetune_overrides: tuple[str, ...]
    data_root: Path | None
    photos: Path | None
    setting: str | None
    run_dir: Path | None
    csv: Path | None
    json: bool
    overwrite: bool
    device: str


@click.command(short_help="Train an ablation of the mask (Tables VII to IX).")
@click.argument("table", metavar="|".join(TABLES), type=click.Choice(TABLES))
@click.option(
    "--preset", default="5d", show_default=True, metavar="NAME",
    help="A preset of pre-training and of fine-tuning.",
)  # fmt: skip
@click.option(
    "--backbone", default="promptir", show_default=True, metavar="NAME",
    type=NameIn(lambda: BACKBONES), help="The network; the default is the paper's.",
)  # fmt: skip
@click.option(
    "--seeds", default=1, show_default=True, metavar="N", type=click.IntRange(1, 99),
    help="Train each mask with so many seeds; the paper prints one figure.",
)  # fmt: skip
@click.option(
    "--set-pretrain", "pretrain_overrides", multiple=True, metavar="KEY=VALUE",
    help="Override a value of pre-training, as training.iterations=2000; may be given again.",
)  # fmt: skip
@click.option(
    "--set-finetune", "finetune_overrides", multiple=True, metavar="KEY=VALUE",
    help="Override a value of fine-tuning; may be given again.",
)  # fmt: skip
@training_data_root_option
@photos_option("Train on your own clean photos, degraded as they are read.")
@click.option(
    "--setting", type=NameIn(lambda: SETTINGS),
    help="Degradations of --photos.  [default: the preset's]",
)  # fmt: skip
@click.option(
    "--run-dir", metavar="FOLDER", type=NEW_FOLDER,
    help="Folder of all runs.  [default: runs/ablation-PRESET]",
)  # fmt: skip
@csv_option("the figures")
@json_option("the figures")
@overwrite_option("the file of --csv")
@device_option
def ablation(**given: Any) -> None:
    """Pre-train under each mask of a table of the paper, fine-tune from there, and compare.

    The PSNR is that of the last validation of fine-tuning. The same command resumes what was
    interrupted, and does not train again what is finished.

    \b
    Examples:
      maskdcpt study ablation mask-ratio --data-root data/
      maskdcpt study ablation method --preset tiny --backbone nafnet --photos photos/ --seeds 5

    \b
    Exit code: 0 done, 1 error, 2 wrong usage, 130 interrupted and saved.
    """
    from maskdcpt_cli.benchmarking.ablation import ABLATIONS, AblationSettings, plan, rows
    from maskdcpt_cli.cli.study.ablation_view import show_table, train, write_figures
    from maskdcpt_cli.training.inputs import TrainingData

    options = AblationOptions(**given)
    if options.setting and not options.photos:
        raise click.UsageError("--setting goes with --photos; a preset has its own.")
    refuse_existing(options.csv, overwrite=options.overwrite)
    chosen = ABLATIONS[options.table]
    settings = AblationSettings(
        folder=options.run_dir or Path("runs", f"ablation-{Path(options.preset).stem}"),
        preset=options.preset,
        data=TrainingData(options.data_root, options.photos, setting=options.setting),
        backbone=options.backbone,
        seeds=options.seeds,
        pretrain_overrides=options.pretrain_overrides,
        finetune_overrides=options.finetune_overrides,
        device=None if options.device == "auto" else options.device,
    )
    runs = plan(chosen, settings)
    train(chosen, runs)
    found = rows(chosen, runs)
    if options.csv:
        write_figures(chosen, found, options.csv)
    show_table(chosen, found, json=options.json)
