"""`maskdcpt score` against pyiqa's own command, over the same folders, start-up and all.

Both take PSNR in sRGB and SSIM of luma (`--protocol pyiqa`), which is what pyiqa's command does;
--rgb compares SSIM in sRGB as well, where pyiqa takes three times as long.

python -m benchmarks.score photos/
"""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray

from benchmarks.measure import machine, table
from maskdcpt_cli.images.formats import IMAGE_SUFFIXES
from maskdcpt_cli.images.reading import read_rgb

WIDTH, HEIGHT = 768, 512
SIGMA = 15  # of the noise that stands for what restoration leaves, of 255
# SSIM's protocol here, and its name in pyiqa's command.
CASES = {"SSIM of luma": ("pyiqa", "ssim"), "SSIM in sRGB": ("maskdcpt", "ssimc")}


def write_pairs(photos: Sequence[Path], folder: Path, *, pairs: int) -> tuple[Path, Path]:
    """Photos of 768x512, and the same with noise; a photo that comes again is mirrored."""
    restored, gt = folder / "restored", folder / "gt"
    restored.mkdir()
    gt.mkdir()
    generator = default_rng(0)
    for number, path in enumerate(islice(cycle(photos), pairs)):
        photo = cv2.resize(read_rgb(path), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        again = number // len(photos) % 4
        clean = photo[:: -1 if again & 2 else 1, :: -1 if again & 1 else 1]
        noisy = (clean + generator.normal(0, SIGMA, clean.shape)).clip(0, 255).round()
        _write(gt / f"{number:04}.png", clean)
        _write(restored / f"{number:04}.png", noisy.astype(np.uint8))
    return restored, gt


def _write(path: Path, pixels: NDArray[np.uint8]) -> None:
    cv2.imwrite(str(path), np.ascontiguousarray(pixels[..., ::-1]))


def timed(command: Sequence[str]) -> tuple[float, list[float]]:
    """Seconds that a command took, and the means that it printed."""
    began = time.perf_counter()
    run = subprocess.run([sys.executable, "-m", *command], capture_output=True, check=True)
    seconds = time.perf_counter() - began
    means = re.findall(rb'(?:\'mean\': (?:np\.float64\()?|"mean": )([\d.]+)', run.stdout)
    return seconds, [float(mean) for mean in means]


@click.command()
@click.argument("photos", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--pairs", default=200, show_default=True)
@click.option("--rgb", is_flag=True, help="SSIM in sRGB as well.")
def main(photos: Path, pairs: int, rgb: bool) -> None:
    """Score the same pairs by both commands."""
    found = sorted(path for path in photos.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        restored, gt = map(str, write_pairs(found, Path(scratch), pairs=pairs))
        for case, (protocol, name) in list(CASES.items())[: 2 if rgb else 1]:
            ours = ["maskdcpt_cli", "score", restored, gt, "--protocol", protocol, "--json"]
            theirs = ["pyiqa.pyiqa_cmd", "psnr", name, "-t", restored, "-r", gt, "--device", "cpu"]
            (fast, means), (slow, expected) = timed(ours), timed(theirs)
            apart = max(abs(a - b) for a, b in zip(sorted(means), sorted(expected), strict=True))
            rows.append(
                [case, f"{fast:.1f} s", f"{slow:.1f} s", f"{slow / fast:.1f}", f"{apart:.0e}"]
            )
    print(f"PSNR and SSIM of {pairs} pairs of {WIDTH}x{HEIGHT}, {machine()}\n")
    print(table(["", "maskdcpt score", "pyiqa", "ratio", "means differ by"], rows))


if __name__ == "__main__":
    main()
