"""Every figure that a GPU should reach, against eager PyTorch in the same run.

python -m benchmarks.gpu                       the whole table, at most 8 minutes
python -m benchmarks.gpu --device cpu --quick  small sizes, to try the rows without a GPU
"""

import time
from collections.abc import Iterator, Sequence

import click
import torch

from benchmarks.gpu import inference, training
from benchmarks.gpu.rows import Bench, Line, Row, run_row
from benchmarks.measure import machine, table

ROWS: tuple[Row, ...] = (*inference.ROWS, *training.ROWS)
HEADER = ("work", "run by", "figure", "speed-up over eager", "goal", "met")


def card(device: torch.device) -> str:
    """Return the name of the device and the versions that its speed depends on."""
    if device.type != "cuda":
        return f"{machine()}, PyTorch {torch.__version__}"
    versions = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    name = torch.cuda.get_device_name(device)
    return f"{name}, {machine()}, PyTorch {torch.__version__}, {versions}"


def measure(
    rows: Sequence[Row], *, device: torch.device, quick: bool, seconds: float
) -> Iterator[Line]:
    """Yield the lines of all rows, each within its budget and all within `seconds`."""
    end = time.monotonic() + seconds
    for row in rows:
        left = min(row.seconds, end - time.monotonic())
        if left <= 0:
            yield Line(row.name, "", "not run: no time left")
            continue
        yield from run_row(row, Bench(device, quick, left))


def cells(line: Line) -> list[str]:
    speed_up = "" if line.speed_up is None else f"{line.speed_up:.2f}x"
    met = {None: "", True: "yes", False: "NO"}[line.met]
    return [line.work, line.way, line.figure, speed_up, line.goal, met]


@click.command()
@click.option("--seconds", default=480.0, show_default=True, help="For all rows together.")
@click.option("--device", default="cuda", show_default=True, help="cuda, cuda:1 or cpu.")
@click.option("--quick", is_flag=True, help="Small sizes; their figures mean nothing.")
@click.option("--only", multiple=True, type=click.Choice([row.name for row in ROWS]))
def main(seconds: float, device: str, quick: bool, only: tuple[str, ...]) -> None:
    """Measure every row, and print the table in Markdown."""
    where = torch.device(device)
    if where.type == "cuda" and not torch.cuda.is_available():
        raise click.ClickException("There is no GPU here: --device cpu --quick tries the rows.")
    rows = [row for row in ROWS if not only or row.name in only]
    lines: list[Line] = []
    for line in measure(rows, device=where, quick=quick, seconds=seconds):
        lines.append(line)
        click.echo(" | ".join(cells(line)), err=True)  # nothing is lost where the rest is stopped
    click.echo(f"{card(where)}; {'small sizes' if quick else 'full sizes'}\n")
    click.echo(table(HEADER, [cells(line) for line in lines]))
    if any(line.figure.startswith("failed") for line in lines):
        raise click.exceptions.Exit(1)
