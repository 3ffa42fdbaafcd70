"""Training by two gloo ranks against one, and the fraction of a step that waits for data.

Each case is the program's own command, `maskdcpt pretrain --preset tiny`, the second time under
torchrun; the batch is the preset's in all of them.

    python -m benchmarks.ranks photos/
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import click

from benchmarks.measure import machine, table
from maskdcpt_cli.training.recorders import read_log

WARM_UP = 5  # iterations that are not counted


class Case(NamedTuple):
    ranks: int
    threads: int  # of each rank


CASES: Mapping[str, Case] = {
    "one process, one thread": Case(1, 1),
    "two gloo ranks, one thread each": Case(2, 1),
    "one process, two threads": Case(1, 2),
}


class Measured(NamedTuple):
    images_per_second: float
    waited: float  # fraction of the time


def run(case: Case, photos: Path, folder: Path, *, backbone: str, iterations: int) -> Measured:
    """Train for some iterations; return the measurements of the log."""
    program = ["-m", "maskdcpt_cli"]
    if case.ranks > 1:
        program = ["-m", "torch.distributed.run", "--nproc-per-node", str(case.ranks), *program]
    command = [
        *(sys.executable, *program, "pretrain", "--preset", "tiny", "--photos", str(photos)),
        *("--backbone", backbone, "--run-dir", str(folder)),
        *("--set", f"training.iterations={iterations}", "--set", f"validation.every={10**6}"),
        *("--set", "validation.images=1", "--set", f"training.workers={2 // case.ranks}"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(case.threads)}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    steps = [line for line in read_log(folder / "log.jsonl") if "images_per_second" in line]
    counted = steps[WARM_UP:]
    return Measured(
        median(step["images_per_second"] for step in counted),
        fmean(step["waited"] for step in counted),
    )


@click.command()
@click.argument("photos", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--backbone", default="nafnet", show_default=True)
@click.option("--iterations", default=40, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(photos: Path, backbone: str, iterations: int, rounds: int) -> None:
    """Images a second of pre-training, by one process and by two."""
    measurements: dict[str, list[Measured]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for index, (name, case) in enumerate(CASES.items()):
                run_dir = Path(folder, f"{number}-{index}")
                measured = run(case, photos, run_dir, backbone=backbone, iterations=iterations)
                measurements[name].append(measured)
    speed = {name: median(one.images_per_second for one in of) for name, of in measurements.items()}
    first = next(iter(speed.values()))
    rows = [
        [
            name,
            f"{speed[name]:.1f}",
            f"{speed[name] / first:.2f}",
            f"{median(one.waited for one in of):.1%}",
        ]
        for name, of in measurements.items()
    ]
    print(f"{backbone} of the tiny preset, {machine()}, median of {rounds} interleaved runs\n")
    print(table(["", "images/s", "over the first", "waiting for data"], rows))


if __name__ == "__main__":
    main()
