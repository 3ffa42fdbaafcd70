"""Samples a second of one core: from shards, and the obvious way, degradation by degradation.

The obvious way opens the whole PNG, crops it and degrades the crop by the same functions.

python -m benchmarks.loader photos/
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from numpy.random import default_rng

from benchmarks.measure import machine, table
from maskdcpt_cli.data.augment import Augmentation
from maskdcpt_cli.data.degrading import CleanPhoto, DegradeRequest, degrade_photos
from maskdcpt_cli.data.loading import load
from maskdcpt_cli.data.mixture import Mixture
from maskdcpt_cli.data.order import Batches, BatchStage, SampleKey
from maskdcpt_cli.data.pairs import FilePairs, Names
from maskdcpt_cli.data.parallel import processors
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.data.shards.index import INDEX, ShardPairs
from maskdcpt_cli.data.shards.pack_items import PackItems
from maskdcpt_cli.data.shards.packing import Cropping, measure, pack, plan
from maskdcpt_cli.degradations import DEGRADATIONS, SETTINGS
from maskdcpt_cli.images.formats import IMAGE_SUFFIXES
from maskdcpt_cli.images.heap import keep_freed_memory
from maskdcpt_cli.images.reading import probe
from maskdcpt_cli.presets.load import load_data
from maskdcpt_cli.synthesis.table import degrade

SIDE = 256
PAIRED = "haze"  # stands for all degradations that are read as pairs
LABELS = SETTINGS["12d"]
# On the fly in the paper's 12D; the other types are read as pairs.
SYNTHETIC = ("GN", "GB", "J", "MS")
Sampler = Callable[[int], object]


def pack_all(sets: Sequence[ImageSet], out: Path) -> Path:
    items = PackItems(sets)
    plans, _ = plan(items, measure(items, jobs=1), cropping=Cropping(), shard_size=2**29)
    list(pack(plans, items, out, cropping=Cropping(), jobs=1))
    return out / INDEX


def pairs_of(photos: Sequence[Path], folder: Path) -> FilePairs:
    """Write the photos as PNG, and a degraded one of each, as data sets of pairs are."""
    sources = [CleanPhoto(path, path.stem) for path in photos]
    list(degrade_photos(sources, folder, [DegradeRequest("H")]))
    names = [f"{path.stem}.png" for path in photos]
    lq, gt = (Names(f"{PAIRED}/{side}/{name}" for name in names) for side in ("lq", "gt"))
    return FilePairs(folder, gt, lq, "H")


def opened(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def obvious(pairs: FilePairs, degradation: str, *, paired: bool) -> Sampler:
    """Return the obvious way to a sample."""

    def sample(number: int) -> object:
        generator = default_rng(number)
        augmentation = Augmentation.draw(generator)
        index = number % len(pairs)
        names = (pairs.gt[index], pairs.lq[index]) if paired and pairs.lq else (pairs.gt[index],)
        images = []
        for name in names:
            image = opened(pairs.root / name)
            crop = augmentation.crop(*image.shape[:2], side=SIDE)
            sample = augmentation.apply(crop.of(image), side=SIDE)
            images.append(np.divide(sample, 255, dtype=np.float32, order="C"))
        if not paired:
            images.append(degrade(images[0], degradation, generator).lq)
        return [torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in images]

    return sample


def from_shards(mixture: Mixture) -> Sampler:
    return lambda number: mixture[SampleKey(number, SIDE)]


def throughputs(cases: Sequence[Sampler], *, samples: int, rounds: int) -> list[float]:
    """Return samples a second of each, the median of interleaved rounds; each takes others."""
    seconds: list[list[float]] = [[] for _ in cases]
    numbers = count()
    for _ in range(rounds):
        drawn = [next(numbers) for _ in range(samples)]
        for case, taken in zip(cases, seconds, strict=True):
            case(drawn[0])
            began = time.perf_counter()
            for number in drawn:
                case(number)
            taken.append((time.perf_counter() - began) / samples)
    return [1 / float(np.median(taken)) for taken in seconds]


def visits(degradation: str) -> float:
    """Return the visits of a degradation in an epoch of the 12D mixture."""
    parts = [part for part in load_data("12d").train if part.degradation == degradation]
    return sum((part.pairs or 0) / part.variants * part.repeat for part in parts)


def twelve(index: Path, synthetic: Sequence[str]) -> Mixture:
    """Return the 12D mixture: some types synthesised from clean crops, pairs of haze for others."""
    least = min(map(visits, LABELS))
    repeats = {label: round(4 * visits(label) / least) for label in LABELS}
    rest = sum(repeat for label, repeat in repeats.items() if label not in synthetic)
    entries = [
        ImageSet("crops", ShardPairs(index, label, clean=True), repeat=repeats[label])
        for label in synthetic
    ]
    if rest:
        entries.append(ImageSet("crops", ShardPairs(index, "H"), repeat=rest))
    return Mixture(entries, labels=LABELS)


def obvious_mixture(mixture: Mixture, pairs: FilePairs) -> Sampler:
    """Return the obvious way to the same degradations."""

    def sample(number: int) -> object:
        pairs_read = mixture.set_of(number)[0].pairs
        assert isinstance(pairs_read, ShardPairs)
        (degradation,) = pairs_read.degradations()
        return obvious(pairs, degradation, paired=not pairs_read.clean)(number)

    return sample


def compared(index: Path, pairs: FilePairs) -> dict[str, tuple[Sampler, Sampler]]:
    """Return what is measured: from shards, and the obvious way."""
    cases: dict[str, tuple[Sampler, Sampler]] = {}
    for degradation, row in DEGRADATIONS.items():
        clean = ImageSet("crops", ShardPairs(index, degradation, clean=True))
        mixture = Mixture([clean], labels=[degradation])
        cases[row.slug] = from_shards(mixture), obvious(pairs, degradation, paired=False)
    mixture = Mixture([ImageSet("crops", ShardPairs(index, "H"))], labels=["H"])
    cases["pairs of any type, read"] = from_shards(mixture), obvious(pairs, "H", paired=True)
    for name, synthetic in (("as in the paper", SYNTHETIC), ("all on the fly", LABELS)):
        mixture = twelve(index, synthetic)
        cases[f"12D mixture, {name}"] = from_shards(mixture), obvious_mixture(mixture, pairs)
    return cases


def through_workers(mixture: Mixture, *, workers: int, batches: int) -> float:
    """Return samples a second and worker, up to tensors in the parent."""
    batch = 8
    loaded = load(mixture, Batches([BatchStage(batch, SIDE)]), workers=workers)
    for _ in range(4 * workers):
        next(loaded)  # what was prefetched while the processes started
    began = time.perf_counter()
    for _ in range(batches):
        next(loaded)
    return batches * batch / (time.perf_counter() - began) / workers


@click.command()
@click.argument("photos", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--number", default=40, show_default=True, help="Photos that are taken.")
@click.option("--samples", default=20, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--workers", default=processors(), show_default=True)
def main(photos: Path, number: int, samples: int, rounds: int, workers: int) -> None:
    """Measure the loading of training samples."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    keep_freed_memory()  # as in the workers of a loader
    paths = sorted(path for path in photos.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    taken = paths[:: max(1, len(paths) // number)][:number]
    with tempfile.TemporaryDirectory() as scratch:
        pairs = pairs_of(taken, Path(scratch, "pairs"))
        index = pack_all(
            [ImageSet("pairs", pairs), ImageSet("clean", replace(pairs, lq=None))],
            Path(scratch, "shards"),
        )
        cases = compared(index, pairs)
        rows = []
        for name, (ours, theirs) in cases.items():
            fast, slow = throughputs([ours, theirs], samples=samples, rounds=rounds)
            rows.append([name, f"{fast:.0f}", f"{slow:.0f}", f"{fast / slow:.1f}"])
        loaded = through_workers(twelve(index, SYNTHETIC), workers=workers, batches=60)
        pixels = [probe(path) for path in taken]
    size = np.mean([header.width * header.height for header in pixels]) / 1e6
    print(f"{len(taken)} photos of {size:.1f} MP, crops {SIDE}x{SIDE}, {machine()}\n")
    print(table(["samples a second and core", "from shards", "whole PNG", "ratio"], rows))
    print(f"\nThe 12D mixture through {workers} workers: {loaded:.0f} a second and worker.")


if __name__ == "__main__":
    main()
