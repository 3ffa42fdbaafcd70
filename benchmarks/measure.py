"""What benchmarks need: medians of interleaved rounds, PSNR, middles of photos, Markdown tables."""

import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from maskdcpt_cli.images.formats import IMAGE_SUFFIXES


def medians(cases: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Return the median seconds of each case.

    Rounds are interleaved, so that a slow minute slows them all.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for case in cases.values():
        case()  # the first call allocates, compiles and warms the caches
    for _ in range(rounds):
        for name, case in cases.items():
            began = time.perf_counter()
            case()
            seconds[name].append(time.perf_counter() - began)
    return {name: median(taken) for name, taken in seconds.items()}


def psnr(restored: ArrayLike, gt: ArrayLike) -> float:
    """Return the peak signal-to-noise ratio in dB of values in [0, 1]; infinite without error."""
    error = float(np.square(np.subtract(restored, gt, dtype=np.float64)).mean())
    return -10 * math.log10(error) if error else math.inf


def middles(photos: Path, side: int) -> Iterator[Tensor]:
    """Yield the middle (3, side, side) of each photo that is as large."""
    for path in sorted(photos.rglob("*")):
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        with Image.open(path) as image:
            if min(image.size) < side:
                continue
            left, top = ((length - side) // 2 for length in image.size)
            photo = image.convert("RGB").crop((left, top, left + side, top + side))
        yield torch.from_numpy(np.asarray(photo, np.float32) / 255).permute(2, 0, 1)


def machine() -> str:
    """Return the processor and the number of cores this process may use."""
    cpuinfo = Path("/proc/cpuinfo")
    name = platform.processor() or platform.machine()
    if cpuinfo.exists():
        models = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = models[0].partition(":")[2].strip() if models else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
