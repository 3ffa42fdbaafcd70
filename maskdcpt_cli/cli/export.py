"""The command `maskdcpt export`."""

from pathlib import Path

import click

from maskdcpt_cli.cli.options import (
    ModelName,
    overwrite_option,
    quiet_option,
    usage_errors,
)
from maskdcpt_cli.cli.paths import FILE, refuse_existing
from maskdcpt_cli.files import shown
from maskdcpt_cli.inference.exporting.forms import FORMS, form_to_write

MEGA = 1_000_000


@click.command(short_help="Export a model to ONNX, OpenVINO or TorchScript.")
@click.argument("model", metavar="NAME|FILE", type=ModelName("restores"))
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    type=FILE,
    help="The file: .onnx, .xml (of OpenVINO, with a .bin beside it), or .ts or .pt (of "
    "TorchScript).",
)
@click.option(
    "--to",
    type=click.Choice(list(FORMS)),
    help="Form of the file.  [default: that of its suffix]",
)
@overwrite_option("the file")
@quiet_option
def export(model: str, output: Path, to: str | None, overwrite: bool, quiet: bool) -> None:
    """Export a model to a file that other programs run, for images of any size.

    The file is compared with the model at several sizes, and is not written if it is below 60 dB at
    one of them. `maskdcpt restore --model FILE` takes it, too.

    \b
    Examples:
      maskdcpt export tiny -o tiny.onnx
      maskdcpt export mine.safetensors -o mine.xml --to openvino
      maskdcpt restore photos/ -o restored/ --model tiny.onnx
    """
    with usage_errors():
        files = form_to_write(output, to).files(output)
    refuse_existing(*files, overwrite=overwrite, inputs=[Path(model)])
    from maskdcpt_cli.inference.exporting.export import export_model
    from maskdcpt_cli.weights.zoo import load_model

    for parity in export_model(load_model(model), output, to=to, overwrite=overwrite):
        if not quiet:
            click.echo(f"{parity!s:<18}{parity.psnr:6.1f} dB to the original")
    if not quiet:
        sizes = (f"{shown(file)} ({file.stat().st_size / MEGA:.1f} MB)" for file in files)
        click.echo(f"Written: {', '.join(sizes)}", err=True)
