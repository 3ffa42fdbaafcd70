"""Photos restored in tiles, in one piece, and coarse first: reduced, and the change carried back.

python -m benchmarks.coarse PHOTOS --megapixels 2,6,12,24
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image

from benchmarks.measure import machine, table
from benchmarks.tiles import Pixels, degraded, photographs, psnr, run
from maskdcpt_cli import load_model, open_engine
from maskdcpt_cli.degradations import DEGRADATIONS, slug
from maskdcpt_cli.inference.backends import Engine
from maskdcpt_cli.inference.coarse import (
    EPS,
    RADIUS,
    REDUCED_PIXELS,
    local_affine,
    reduce,
    reduced_size,
)
from maskdcpt_cli.synthesis.table import SYNTHESIS, degrade

SCENE = ("dark", "hazy")  # of benchmarks.tiles.KINDS
EITHER = [label for label, one in DEGRADATIONS.items() if one.scale == "either"]
SMALL = 0.4  # megapixels of a photo that is degraded, and enlarged afterwards
ROWS = 256  # of the photo that are changed at a time


class Coarse:
    """A photo whose reduced copy was restored."""

    def __init__(self, engine: Engine, lq: Pixels, max_pixels: int = REDUCED_PIXELS) -> None:
        self.image = torch.from_numpy(lq).permute(2, 0, 1)
        self.size = (lq.shape[0], lq.shape[1])
        reduced = reduced_size(self.size, max_pixels)
        self.lq = reduce(lambda rows, columns: self.image[:, rows, columns], self.size, reduced)
        self.restored = engine(self.lq)

    def carried_back(self, radius: int = RADIUS, eps: float = EPS) -> Pixels:
        change = local_affine(self.lq, self.restored, self.size, radius=radius, eps=eps)
        height, width = self.size
        bands = (slice(top, min(top + ROWS, height)) for top in range(0, height, ROWS))
        every = slice(0, width)
        restored = [change.apply(self.image[:, rows], rows, every) for rows in bands]
        return torch.cat(restored, dim=1).clip(0, 1).permute(1, 2, 0).numpy()


class Measured:
    """PSNR and seconds by row of a table and by column."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self.psnr: dict[tuple[str, str], list[float]] = {}
        self.seconds: dict[tuple[str, str], list[float]] = {}

    def add(self, row: str, column: str, restored: Pixels, gt: Pixels) -> None:
        value = psnr(restored, gt)
        print(f"{row}, {column}: {value:.2f} dB", file=sys.stderr)
        self.psnr.setdefault((row, column), []).append(value)

    @contextmanager
    def timed(self, row: str, column: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self.seconds.setdefault((row, column), []).append(time.process_time() - began)

    def table(self, first: str) -> str:
        rows = dict.fromkeys(row for row, _column in self.psnr)
        return table(
            [first, *self.columns],
            [[row, *(self._cell(row, column) for column in self.columns)] for row in rows],
        )

    def _cell(self, row: str, column: str) -> str:
        if (row, column) not in self.psnr:
            return ""
        cell = f"{np.mean(self.psnr[row, column]):.2f} dB"
        seconds = self.seconds.get((row, column))
        return f"{cell}, {np.mean(seconds):.1f} s" if seconds else cell


def ways(engine: Engine, photos: Path, sizes: list[float], *, count: int, seed: int) -> Measured:
    """Compare tiles, one piece and coarse first, by the size of the photo."""
    measured = Measured(("input", "tiles", "one piece", "coarse first"))
    for size, kind in product(sizes, SCENE):
        row = f"{kind}, {size:g} megapixels"
        for gt in photographs(photos, size, count=count, seed=seed):
            lq = degraded(gt, kind, seed=seed)
            measured.add(row, "input", lq, gt)
            with measured.timed(row, "tiles"):
                restored, _step = run(engine, lq, "photo")
            measured.add(row, "tiles", restored, gt)
            with measured.timed(row, "one piece"):
                restored, _step = run(engine, lq, "one piece")
            measured.add(row, "one piece", restored, gt)
            with measured.timed(row, "coarse first"):
                restored = Coarse(engine, lq).carried_back()
            measured.add(row, "coarse first", restored, gt)
    return measured


def settings(engine: Engine, photos: Path, size: float, *, count: int, seed: int) -> Measured:
    """Compare sizes of the reduced photo, radii and eps, one varied at a time."""
    measured = Measured(SCENE)
    for kind in SCENE:
        for gt in photographs(photos, size, count=count, seed=seed):
            lq = degraded(gt, kind, seed=seed)
            for pixels in (REDUCED_PIXELS // 3, REDUCED_PIXELS, REDUCED_PIXELS * 3):
                coarse = Coarse(engine, lq, pixels)
                measured.add(f"{pixels / 1e6:g} megapixels", kind, coarse.carried_back(), gt)
                if pixels != REDUCED_PIXELS:
                    continue
                for radius in (RADIUS // 4, RADIUS // 2, RADIUS * 2, RADIUS * 4):
                    restored = coarse.carried_back(radius=radius)
                    measured.add(f"radius {radius}", kind, restored, gt)
                for eps in (EPS / 10, EPS * 10, EPS * 100):
                    measured.add(f"eps {eps:g}", kind, coarse.carried_back(eps=eps), gt)
    return measured


def either(engine: Engine, photos: Path, size: float, *, count: int, seed: int) -> Measured:
    """Compare tiles with coarse first for types that are small in one photo, large in another."""
    measured = Measured(("input", "tiles", "coarse first"))
    for label, large in product(EITHER, (False, True)):
        row = f"{slug(label)}, {f'made at {SMALL:g} megapixels and enlarged' if large else 'fine'}"
        level = SYNTHESIS[label].usual
        for photo in photographs(photos, SMALL if large else size, count=count, seed=seed):
            generator = np.random.default_rng(seed)
            lq, gt = degrade(photo, label, generator, levels=[level.low, level.high]).lq, photo
            if large:
                lq, gt = enlarged(lq, size), enlarged(gt, size)
            measured.add(row, "input", lq, gt)
            measured.add(row, "tiles", run(engine, lq, "photo")[0], gt)
            measured.add(row, "coarse first", Coarse(engine, lq).carried_back(), gt)
    return measured


def enlarged(image: Pixels, megapixels: float) -> Pixels:
    scale = (megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    channels = (Image.fromarray(image[..., i]) for i in range(3))
    large = [np.asarray(one.resize(size, Image.Resampling.LANCZOS)) for one in channels]
    return np.stack(large, axis=-1).clip(0, 1)


@click.command()
@click.argument("photos", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--model", default="tiny", show_default=True)
@click.option("--megapixels", default="2,6,12,24", show_default=True)
@click.option("--count", default=2, show_default=True, help="Photos of each size.")
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=1, show_default=True)
def main(*, photos: Path, model: str, megapixels: str, count: int, seed: int, threads: int) -> None:
    """Degrade large photos made of the clean ones in PHOTOS, and restore them each way."""
    torch.set_num_threads(threads)
    sizes = [float(size) for size in megapixels.split(",")]
    engine = open_engine(load_model(model), backend="torch")
    print(f"{machine()}, {engine.describe()}; {count} photos each, CPU seconds\n")
    print(ways(engine, photos, sizes, count=count, seed=seed).table("photos"), "\n")
    print(settings(engine, photos, sizes[-1], count=count, seed=seed).table("settings"), "\n")
    print(either(engine, photos, sizes[0], count=count, seed=seed).table("degradation"))


if __name__ == "__main__":
    main()
