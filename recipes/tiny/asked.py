"""The table of what a network does that is asked: PSNR of the same photos under several requests.

Photos that it was not trained on are degraded, each with a seed of its own; pairs that exist
already are taken as they are. A last table says how far the colours of pale and dim photos move.

    python -m recipes.tiny.asked asked.safetensors data/unseen --pairs LL dark/ bright/
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import click
import cv2
import numpy as np
import torch

from benchmarks.measure import psnr, table
from maskdcpt_cli import load_model
from maskdcpt_cli.data.sets import ImageSet, from_pairs, from_photos
from maskdcpt_cli.degradations import CLEAN, Range
from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.synthesis.contract import Image
from maskdcpt_cli.synthesis.table import degrade, generator_of

HIGHEST = 100.0  # dB, of an image that did not change
OF_TONE = frozenset(
    {"H", "LL"}
)  # where a network must guess: a pale or dim photo may be a good one
TONES: Mapping[str, Callable[[Image], Image]] = {
    "pale": lambda photo: np.float32(0.55) + np.float32(0.4) * photo,
    "dim": lambda photo: np.float32(0.3) * photo,
}


class Sample(NamedTuple):
    """A degraded image and the clean one, (H, W, 3) float32 in [0, 1]."""

    lq: Image
    gt: Image


class Degrading(NamedTuple):
    """How the photos of a row are degraded."""

    title: str
    degradation: str
    levels: Sequence[float] | Range | None = None
    variant: str | None = None
    reduced: int = 1  # photos are that many times as small


ROWS = (
    Degrading("clean", CLEAN),
    Degrading("clean, half the size", CLEAN, reduced=2),
    Degrading("Gaussian blur 1.5", "GB", (1.5,)),
    Degrading("noise 25", "GN", (25,), "gaussian"),
    Degrading("JPEG 10", "J", (10,)),
    Degrading("JPEG 50", "J", (50,)),
    Degrading("haze", "H", Range(0.5, 2), "homogeneous"),
    Degrading("thin rain", "RS", (10,)),
    Degrading("heavy rain", "RS", (100,)),
    Degrading("low light", "LL", Range(2, 5)),
    Degrading("motion blur", "MB", Range(4, 20)),
)


class RestoreByRequest:
    """A network as a function of an image and of a request."""

    def __init__(self, model: Backbone) -> None:
        self.model = model
        self.types = frozenset(model.requests)

    def __call__(self, lq: Image, request: frozenset[str] | None = None) -> Image:
        """Restore an image; None: without a request."""
        row = None
        if request is not None:
            row = torch.tensor([[float(name in request) for name in self.model.requests]])
        with torch.inference_mode():
            restored = self.model(torch.from_numpy(lq.transpose(2, 0, 1).copy())[None], row)
        return np.ascontiguousarray(restored[0].clip(0, 1).numpy().transpose(1, 2, 0))


class Row(NamedTuple):
    """PSNR of each image of a row, by column."""

    title: str
    psnr: Mapping[str, Sequence[float]]

    def cells(self) -> list[str]:
        values = self.psnr.values()
        return [self.title, *(f"{fmean(one):.1f} ({min(one):.1f})" for one in values)]


def photos_in(folders: Sequence[Path], *, count: int, side: int) -> Iterator[tuple[str, Image]]:
    """Yield the name and the middle of photos, `count` of each folder, from all over it."""
    for folder in folders:
        (photos,) = from_photos(folder)
        for index in _all_over(len(photos), count):
            pair = photos.pairs.read(index)
            yield pair.name, _middle(_scaled(pair.gt), side)


def degraded(row: Degrading, name: str, photo: Image) -> Sample:
    """Degrade a photo, the same way every time."""
    height, width = (length // row.reduced for length in photo.shape[:2])
    if row.reduced > 1:
        smaller = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
        photo = np.asarray(smaller, np.float32)
    generator = generator_of(name, row.title, seed=(0,))
    result = degrade(photo, row.degradation, generator, variant=row.variant, levels=row.levels)
    return Sample(result.lq, photo)


def readers(pairs: ImageSet, *, count: int) -> list[Callable[[], Sample]]:
    """Return functions that read pairs, from all over a set."""
    return [partial(_read, pairs, index) for index in _all_over(len(pairs), count)]


def _read(pairs: ImageSet, index: int) -> Sample:
    pair = pairs.pairs.read(index)
    assert pair.lq is not None
    return Sample(_scaled(pair.lq), _scaled(pair.gt))


def _all_over(length: int, count: int) -> list[int]:
    """Return indices of `count` of so many images, evenly spread."""
    return [int(i) for i in np.linspace(0, length - 1, min(count, length)).round()]


def measured(
    title: str,
    degradation: str,
    samples: Sequence[Callable[[], Sample]],
    blind: RestoreByRequest,
    network: RestoreByRequest,
) -> Row:
    """Restore samples by the blind network, and by the other one with requests."""
    present = frozenset({degradation} - {CLEAN})
    ways: dict[str, Callable[[Image], Image]] = {
        "input": lambda lq: lq,
        "blind": blind,
        "asked for what is there": lambda lq: network(lq, present),
        "asked for everything": lambda lq: network(lq, network.types),
        "asked for all but haze and darkness": lambda lq: network(lq, network.types - OF_TONE),
    }
    reached: dict[str, list[float]] = {way: [] for way in ways}
    for sample in samples:
        lq, gt = sample()
        for way, restore in ways.items():
            reached[way].append(min(HIGHEST, psnr(restore(lq), gt)))
    return Row(title, reached)


def colour_shifts(
    photos: Sequence[tuple[str, Image]], blind: RestoreByRequest, network: RestoreByRequest
) -> Iterator[list[str]]:
    """Yield a row for each of TONES, of photos of this tone with noise and without."""
    noise = Degrading("noise 10", "GN", (10,), "gaussian")
    for tone, change in TONES.items():
        for title, row in (("", Degrading("clean", CLEAN)), (", noise 10", noise)):
            samples = [degraded(row, name, change(photo)) for name, photo in photos]
            shifts = (
                [_colour_shift(restore(lq), gt) for lq, gt in samples]
                for restore in (blind, lambda lq: network(lq, frozenset({"GN"})))
            )
            yield [tone + title, *(f"{fmean(one):.2f} ({max(one):.2f})" for one in shifts)]


def _colour_shift(restored: Image, gt: Image) -> float:
    """Return by how much the mean of a channel differs at most, of 255."""
    return float(np.abs((restored - gt).mean(axis=(0, 1), dtype=np.float64)).max() * 255)


def _middle(photo: Image, side: int) -> Image:
    top, left = (max(0, (length - side) // 2) for length in photo.shape[:2])
    return photo[top : top + side, left : left + side]


def _scaled(pixels: Pixels) -> Image:
    return np.divide(pixels, 255, dtype=np.float32)


@click.command()
@click.argument("model", type=click.Path(exists=True, dir_okay=False))
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option("--blind", default="tiny", show_default=True, help="The network to compare with.")
@click.option(
    "--pairs",
    multiple=True,
    type=(str, click.Path(path_type=Path, exists=True), click.Path(path_type=Path, exists=True)),
    help="Abbreviation of the degradation, LQ, GT; may be repeated.",
)
@click.option("--count", default=16, show_default=True, help="Photos of each folder, and pairs.")
@click.option("--side", default=448, show_default=True, help="Of the middle of a photo.")
def main(
    model: str,
    folders: tuple[Path, ...],
    *,
    blind: str,
    pairs: tuple[tuple[str, Path, Path], ...],
    count: int,
    side: int,
) -> None:
    """Measure the request-conditioned MODEL on photos of FOLDERS and on pairs."""
    network = RestoreByRequest(load_model(model))
    if not network.types:
        raise click.UsageError(f"{model} cannot be asked; train one with `architecture: instruct`.")
    without_request = RestoreByRequest(load_model(blind))
    photos = list(photos_in(folders, count=count, side=side))
    sets: list[tuple[str, str, Sequence[Callable[[], Sample]]]] = [
        (row.title, row.degradation, [partial(degraded, row, *photo) for photo in photos])
        for row in ROWS
    ]
    own = from_pairs([(lq, gt) for _, lq, gt in pairs])
    sets += [(f"{one.name}, pairs", label, readers(one, count=count))
             for (label, _, _), one in zip(pairs, own, strict=True)]  # fmt: skip
    done: list[Row] = []
    for title, degradation, samples in sets:
        done.append(measured(title, degradation, samples, without_request, network))
        print(" | ".join(done[-1].cells()), flush=True)
    print(f"\nPSNR in dB of {len(photos)} photos, mean (worst):\n")
    print(table(["", *done[0].psnr], [row.cells() for row in done]))
    print("\nShift of the mean colour, of 255, mean (largest):\n")
    shifts = colour_shifts(photos, without_request, network)
    print(table(["photos", "blind", "asked for noise"], list(shifts)))


if __name__ == "__main__":
    main()
