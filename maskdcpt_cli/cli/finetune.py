"""The command `maskdcpt finetune`."""

from typing import Any

import click

from maskdcpt_cli.cli.options import add_options
from maskdcpt_cli.cli.training import OPTIONS, TrainingOptions, load_run, run


@click.command(short_help="Train a network to restore, from pre-trained weights.")
@add_options(OPTIONS)
def finetune(**given: Any) -> None:
    """Train a network to restore images, from pre-trained or from random weights.

    Under torchrun all processes and machines train one network. The run folder holds the preset,
    the log, images, and weights that `maskdcpt restore --model` takes.

    \b
    Examples:
      maskdcpt finetune --preset tiny --photos photos/ --init-from runs/pretrain-tiny/FILE
      maskdcpt finetune --preset derain --pairs rainy/ clean/ --init-from encoder.safetensors
      torchrun --nproc-per-node 4 -m maskdcpt_cli finetune --preset 5d --data-root data/

    \b
    Exit code: 0 done, 1 error, 2 wrong usage, 130 interrupted and saved.
    """
    requested = TrainingOptions(**given)
    run(load_run("finetune", requested), requested, kind="finetune")
