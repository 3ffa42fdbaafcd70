"""What each block of a NAFNet is worth: PSNR that is lost without it, and its share of the time.

python -m benchmarks.blocks PHOTOS
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import click
import numpy as np
import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from benchmarks.measure import machine, middles, psnr, table
from maskdcpt_cli import degrade, load_model
from maskdcpt_cli.degradations import find, slug
from maskdcpt_cli.inference.removal import request_of
from maskdcpt_cli.models.backbone import RestorationNetwork
from maskdcpt_cli.models.nafnet import NAFBlock

SIDE = 320  # of the middle of each photo that is taken
LEVELS = {
    "noise": 25, "jpeg": 10, "motion-blur": 10, "haze": 1.5, "low-light": 3, "rain": 60,
    "snow": 0.6, "moire": 0.6,
}  # fmt: skip
ROUNDS = 5


class Sample(NamedTuple):
    """A degraded image (1, 3, H, W), what it was made of, and the label of what was done."""

    label: str
    gt: Tensor
    lq: Tensor


@click.command()
@click.argument("photos", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--model", default="tiny-asked", show_default=True, help="A NAFNet.")
@click.option("--count", default=6, show_default=True, help="Photos, spread over the folder.")
def main(*, photos: Path, model: str, count: int) -> None:
    """Leave out one block at a time, by gates of zero, without training."""
    network = load_model(model).eval()
    samples = list(degraded(photos, count))
    shares = time_shares(network, samples[0])
    whole = scores(network, samples)
    rows: list[list[str]] = [["all", "", *(f"{value:.2f} dB" for value in whole.values())]]
    for name, block in network.named_modules():
        if isinstance(block, NAFBlock):
            with left_out(block):
                without = scores(network, samples)
            changes = (f"{without[label] - value:+.2f}" for label, value in whole.items())
            rows.append([name, f"{shares[name]:.1%}", *changes])
    print(f"{machine()}; {model}, {count} photos of {SIDE} pixels a side\n")
    print(table(["without", "time", *map(slug, whole)], rows))


def degraded(photos: Path, count: int) -> Iterator[Sample]:
    """Yield the middles of some photos with each degradation of LEVELS."""
    images = list(middles(photos, SIDE))
    for name, level in LEVELS.items():
        for seed, gt in enumerate(images[:: max(1, len(images) // count)][:count]):
            image = np.ascontiguousarray(gt.permute(1, 2, 0).numpy())
            lq = degrade(image, name, np.random.default_rng(seed), levels=[level]).lq
            yield Sample(find(name), gt[None], torch.from_numpy(lq).permute(2, 0, 1)[None])


@torch.inference_mode()
def scores(network: RestorationNetwork, samples: list[Sample]) -> dict[str, float]:
    """Return the mean PSNR of each degradation, removed by request where a network takes one."""
    values: dict[str, list[float]] = {}
    for sample in samples:
        restored = restored_by(network, sample).clamp(0, 1)
        values.setdefault(sample.label, []).append(psnr(restored, sample.gt))
    return {label: fmean(each) for label, each in values.items()}


def restored_by(network: RestorationNetwork, sample: Sample) -> Tensor:
    if not network.requests:
        return network(sample.lq)
    return network(sample.lq, request=request_of((sample.label,), network.requests))


@contextmanager
def left_out(block: NAFBlock) -> Iterator[None]:
    """Make a block an identity."""
    gates = [(gate, gate.detach().clone()) for gate in (block.beta, block.gamma)]
    try:
        for gate, _ in gates:
            gate.data.zero_()
        yield
    finally:
        for gate, value in gates:
            gate.data.copy_(value)


@torch.inference_mode()
def time_shares(network: RestorationNetwork, sample: Sample) -> dict[str, float]:
    """Return the share of each block in the time of a pass, the median of some passes."""
    began: dict[str, float] = {}
    seconds: dict[str, list[float]] = {}

    def timed(name: str, block: NAFBlock) -> tuple[RemovableHandle, RemovableHandle]:
        def start(*_: object) -> None:
            began[name] = time.perf_counter()

        def stop(*_: object) -> None:
            seconds.setdefault(name, []).append(time.perf_counter() - began[name])

        return block.register_forward_pre_hook(start), block.register_forward_hook(stop)

    blocks = [(name, one) for name, one in network.named_modules() if isinstance(one, NAFBlock)]
    hooks = [hook for name, block in blocks for hook in timed(name, block)]
    whole = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        restored_by(network, sample)
        whole.append(time.perf_counter() - start)
    for hook in hooks:
        hook.remove()
    return {name: median(each) / median(whole) for name, each in seconds.items()}


if __name__ == "__main__":
    main()
