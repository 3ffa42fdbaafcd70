"""What the commands gain by keeping freed memory: seconds and page faults of a network on a tile.

Each case runs in a process of its own, as memory that is kept once stays kept.

    python -m benchmarks.kept_memory --side 1024
"""

import resource
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import click
import torch

from benchmarks.measure import machine, medians, table
from maskdcpt_cli import load_model, open_engine
from maskdcpt_cli.images.heap import ACTIVATIONS, keep_freed_memory

MODELS = ("tiny", "tiny-asked")


class Figures(NamedTuple):
    """The cost of one run, and the peak of the process."""

    seconds: float  # median
    page_faults: float  # mean
    peak: float  # of resident memory, in bytes


def run(model: str, side: int, rounds: int, *, kept: bool) -> Figures:
    """Run a network in PyTorch on a square tile."""
    if kept:
        keep_freed_memory(ACTIVATIONS)
    engine = open_engine(load_model(model), backend="torch", device="cpu")
    lq = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    engine(lq)
    before = resource.getrusage(resource.RUSAGE_SELF)
    seconds = medians({model: lambda: engine(lq)}, rounds=rounds)[model]
    after = resource.getrusage(resource.RUSAGE_SELF)
    faults = (after.ru_minflt - before.ru_minflt) / (rounds + 1)  # `medians` runs it once more
    return Figures(seconds, faults, after.ru_maxrss * 1024)


@click.command()
@click.option("--side", default=1024, show_default=True)
@click.option("--rounds", default=5, show_default=True)
def main(side: int, rounds: int) -> None:
    """Time the embedded networks with and without kept memory."""
    rows = []
    for model in MODELS:
        given, kept = (measured(model, side, rounds, kept=kept) for kept in (False, True))
        rows += [
            [model, way, *shown(figures), f"{figures.seconds / given.seconds:.2f}"]
            for way, figures in (("given back", given), ("kept", kept))
        ]
    print(f"One tile of {side}x{side}, PyTorch, fp32, {machine()}\n")
    print(table(["model", "freed memory is", "time", "page faults", "peak memory", "ratio"], rows))


def measured(model: str, side: int, rounds: int, *, kept: bool) -> Figures:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(run, model, side, rounds, kept=kept).result()


def shown(figures: Figures) -> list[str]:
    return [
        f"{figures.seconds:.2f} s",
        f"{figures.page_faults:,.0f}",
        f"{figures.peak / 1e9:.2f} GB",
    ]


if __name__ == "__main__":
    main()
