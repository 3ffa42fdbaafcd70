"""An index of 2.5 million pairs: how long it takes to load, and what it costs each process.

python -m benchmarks.index
"""

import os
import resource
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import click
import numpy as np
import psutil

from benchmarks.measure import machine, table
from maskdcpt_cli.data.pairs import read_list
from maskdcpt_cli.data.shards.index import INDEX, RECORD, RECORDS, Shard, ShardPairs, dump_index

IN_A_SHARD = 340  # pairs of 512x512 crops in 512 MB


def write_list(folder: Path, pairs: int) -> None:
    """Write a list with names as long as those of the public data sets."""
    with (folder / "list.txt").open("w") as file:
        for number in range(pairs):
            scene = f"{number // 35:06}"
            file.write(f"RESIDE-BETA/clear/{scene}.png RESIDE-BETA/haze/{scene}_0.8_0.12.jpg\n")


def write_shards(folder: Path, pairs: int) -> None:
    """Write the index of shards of the right number whose files are empty."""
    shards = [
        Shard(f"haze-{first // IN_A_SHARD:06}.tar", min(IN_A_SHARD, pairs - first), "H")
        for first in range(0, pairs, IN_A_SHARD)
    ]
    for shard in shards:
        (folder / shard.file).touch()
    np.save(folder / RECORDS, np.zeros(pairs, RECORD))
    (folder / INDEX).write_bytes(dump_index(shards))


def open_list(folder: Path) -> Callable[[int], object]:
    gt, lq = read_list(folder / "list.txt")
    assert lq is not None
    return lambda index: (gt[index], lq[index])


def open_shards(folder: Path) -> Callable[[int], object]:
    return ShardPairs(folder / INDEX).locate


CASES = {
    "text list": (write_list, open_list),
    "index of shards": (write_shards, open_shards),
}


def megabytes() -> float:
    """Return the memory of this process alone."""
    return psutil.Process().memory_full_info().uss / 1e6


def peak_megabytes() -> float:
    """Return the peak memory of this process, shared memory included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def touch(look_up: Callable[[int], object], pairs: int, results: "SimpleQueue[float]") -> None:
    """Look every pair up, as a worker does in the course of an epoch, and report what it cost."""
    before = megabytes()
    for index in range(pairs):
        look_up(index)
    results.put(megabytes() - before)


def measure(name: str, pairs: int, results: "SimpleQueue[float]") -> None:
    """Measure time and memory of loading, and memory of a worker, in a process of its own."""
    write, open_index = CASES[name]
    with tempfile.TemporaryDirectory() as scratch:
        write(Path(scratch), pairs)
        os.sync()
        before, peak = megabytes(), peak_megabytes()
        began = time.perf_counter()
        look_up = open_index(Path(scratch))
        results.put(time.perf_counter() - began)
        results.put(peak_megabytes() - peak)
        results.put(megabytes() - before)
        worker = get_context("fork").Process(target=touch, args=(look_up, pairs, results))
        worker.start()
        worker.join()


@click.command()
@click.option("--pairs", default=2_500_000, show_default=True)
def main(pairs: int) -> None:
    """Measure every kind of index."""
    context = get_context("spawn")
    rows = []
    for name in CASES:
        results: SimpleQueue[float] = context.SimpleQueue()
        process = context.Process(target=measure, args=(name, pairs, results))
        process.start()
        seconds, *memory = (results.get() for _ in range(4))
        process.join()
        rows.append([name, f"{seconds:.2f} s", *(f"{cost:.0f} MB" for cost in memory)])
    print(f"{pairs:,} pairs, {machine()}\n")
    print(table(["index", "loads in", "at most", "then the parent", "and each worker"], rows))


if __name__ == "__main__":
    main()
