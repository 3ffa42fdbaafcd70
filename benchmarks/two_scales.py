"""Noise of large photos, removed at one scale and at two: PSNR and time.

python -m benchmarks.two_scales PHOTOS
"""

from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.measure import machine, medians, middles, psnr, table
from maskdcpt_cli import load_model, open_engine
from maskdcpt_cli.inference.removal import request_of
from maskdcpt_cli.inference.two_scales import TwoScales

SIDE = 1024  # of the middle of each photo that is taken
SIGMAS = (10, 25, 50, 75)
ROUNDS = 3


@click.command()
@click.argument("photos", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--model", default="tiny-asked", show_default=True, help="A request-conditioned one.")
@click.option("--seed", default=0, show_default=True)
def main(*, photos: Path, model: str, seed: int) -> None:
    """Add Gaussian noise to the middle of clean PHOTOS, and remove it both ways."""
    engine = open_engine(load_model(model), backend="torch")
    one = engine.with_request(request_of(("GN",), engine.model.requests))
    two = TwoScales(one, multiple=engine.size_multiple, pad=engine.pad)
    images = list(middles(photos, SIDE))
    print(f"{machine()}, {engine.describe()}; {len(images)} photos of {SIDE} pixels a side\n")
    rows = []
    for sigma in SIGMAS:
        noisy = [degraded(gt, sigma, seed=seed + i) for i, gt in enumerate(images)]
        columns = [[psnr(lq, gt) for lq, gt in zip(noisy, images, strict=True)]]
        for network in (one, two):
            restored = [network(lq[None])[0].clamp(0, 1) for lq in noisy]
            columns.append([psnr(each, gt) for each, gt in zip(restored, images, strict=True)])
        gains = np.subtract(columns[2], columns[1])
        means = [f"{np.mean(column):.2f} dB" for column in columns]
        rows.append([sigma, *means, f"{gains.min():+.2f} to {gains.max():+.2f} dB"])
    print(table(["sigma", "input", "one scale", "two scales", "gain"], rows))
    lq = images[0][None]
    seconds = medians({"one": lambda: one(lq), "two": lambda: two(lq)}, rounds=ROUNDS)
    print(f"\nTime of two scales over one: {seconds['two'] / seconds['one']:.2f}")


def degraded(gt: Tensor, sigma: float, *, seed: int) -> Tensor:
    """Return an image with Gaussian noise of sigma in levels of 255, as a file of 8 bits has it."""
    generator = torch.Generator().manual_seed(seed)
    noisy = gt * 255 + sigma * torch.randn(gt.shape, generator=generator)
    return noisy.round().clamp(0, 255) / 255


if __name__ == "__main__":
    main()
