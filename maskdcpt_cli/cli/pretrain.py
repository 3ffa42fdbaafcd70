"""The command `maskdcpt pretrain`."""

from typing import Any

import click

from maskdcpt_cli.cli.options import add_options
from maskdcpt_cli.cli.training import OPTIONS, TrainingOptions, load_run, run


@click.command(short_help="Pre-train a network on degraded images (MaskDCPT).")
@add_options(OPTIONS)
def pretrain(**given: Any) -> None:
    """Pre-train a network: from half of an image, reconstruct it and classify its degradation.

    Under torchrun all processes and machines train one network. The run folder holds the preset,
    the log, images, and weights that `maskdcpt finetune --init-from` takes.

    \b
    Examples:
      maskdcpt pretrain --preset tiny --photos photos/
      torchrun --nproc-per-node 4 -m maskdcpt_cli pretrain --preset 5d --data-root data/
      maskdcpt pretrain --preset 5d --data-root data/ --backbone restormer --dry-run

    \b
    Exit code: 0 done, 1 error, 2 wrong usage, 130 interrupted and saved.
    """
    requested = TrainingOptions(**given)
    run(load_run("pretrain", requested), requested, kind="pretrain")
