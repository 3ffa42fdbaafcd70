"""Photos restored in tiles, in one piece, and coarse first: reduced, and the change carried back.

python -m benchmarks.coarse PHOTOS --megapixels 12
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from functools import partial
from itertools import product
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.measure import machine, psnr, table
from benchmarks.tiles import Pixels, degraded, photographs, run
from maskdcpt_cli import load_model, open_engine, restore
from maskdcpt_cli.degradations import DEGRADATIONS, slug
from maskdcpt_cli.inference.backends import Engine
from maskdcpt_cli.inference.coarse import (
    EPS,
    RADIUS,
    local_affine,
    reduce,
    reduced_size,
)
from maskdcpt_cli.inference.looking import REDUCED_PIXELS
from maskdcpt_cli.inference.removal import request_of
from maskdcpt_cli.synthesis.table import SYNTHESIS, degrade

SCENE = ("dark", "hazy")  # of benchmarks.tiles.KINDS
EITHER = [label for label, one in DEGRADATIONS.items() if one.scale == "either"]
NOISY = ((2, 5), (2, 15), (4, 5))  # stops of light lost, sigma of Gaussian noise
ROWS = 64  # of the photo that are changed at a time
SMALL = 0.4  # megapixels of a photo that is degraded, and enlarged afterwards


class Coarse:
    """A photo and its reduced copy, and what it becomes where the copy is restored."""

    def __init__(self, image: Tensor, max_pixels: int = REDUCED_PIXELS) -> None:
        self.image = image  # (3, H, W)
        self.size = (image.shape[1], image.shape[2])
        reduced = reduced_size(self.size, max_pixels)
        self.lq = reduce(lambda rows, columns: image[:, rows, columns], self.size, reduced)

    def carried_back(
        self, restored: Tensor, *, exact: bool = False, radius: int = RADIUS, eps: float = EPS
    ) -> Tensor:
        """Return the photo with the change of the copy to `restored` (1, 3, h, w)."""
        change = local_affine(self.lq, restored, self.size, exact=exact, radius=radius, eps=eps)
        height, width = self.size
        bands = (slice(top, min(top + ROWS, height)) for top in range(0, height, ROWS))
        changed = [change.apply(self.image[:, rows], rows, slice(0, width)) for rows in bands]
        return torch.cat(changed, dim=1).clamp_(0, 1)


def tensor(image: Pixels) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)


class Measured:
    """PSNR and seconds by row of a table and by column."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self.psnr: dict[tuple[str, str], list[float]] = {}
        self.seconds: dict[tuple[str, str], list[float]] = {}

    def add(self, row: str, column: str, restored: Pixels | Tensor, gt: Pixels) -> None:
        if isinstance(restored, Tensor):
            restored = restored.permute(1, 2, 0).numpy()
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


def ways(engine: Engine, photos: Path, size: float, *, count: int, seed: int) -> Measured:
    """Compare tiles, one piece and coarse first, in PSNR and CPU seconds."""
    measured = Measured(("input", "tiles", "one piece", "coarse first"))
    for kind in SCENE:
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
                coarse = Coarse(tensor(lq))
                changed = coarse.carried_back(engine(coarse.lq))
            measured.add(row, "coarse first", changed, gt)
    return measured


def settings(engine: Engine, photos: Path, size: float, *, count: int, seed: int) -> Measured:
    """Compare sizes of the reduced photo, radii and eps, one varied at a time."""
    measured = Measured(SCENE)
    for kind in SCENE:
        for gt in photographs(photos, size, count=count, seed=seed):
            lq = degraded(gt, kind, seed=seed)
            for pixels in (REDUCED_PIXELS // 3, REDUCED_PIXELS, REDUCED_PIXELS * 3):
                coarse = Coarse(tensor(lq), pixels)
                back = partial(coarse.carried_back, engine(coarse.lq))
                measured.add(f"{pixels / 1e6:g} megapixels", kind, back(), gt)
                if pixels != REDUCED_PIXELS:
                    continue
                for radius in (RADIUS // 4, RADIUS // 2, RADIUS * 2, RADIUS * 4):
                    measured.add(f"radius {radius}", kind, back(radius=radius), gt)
                for eps in (EPS / 10, EPS * 10, EPS * 100):
                    measured.add(f"eps {eps:g}", kind, back(eps=eps), gt)
    return measured


def either(engine: Engine, photos: Path, size: float, *, count: int, seed: int) -> Measured:
    """Compare tiles with coarse first for types that are small in one photo, large in another."""
    measured = Measured(("input", "tiles", "coarse first", "coarse first, pixel by pixel"))
    for label, large in product(EITHER, (False, True)):
        row = f"{slug(label)}, {f'made at {SMALL:g} megapixels and enlarged' if large else 'fine'}"
        level = sum(SYNTHESIS[label].usual) / 2
        for photo in photographs(photos, SMALL if large else size, count=count, seed=seed):
            generator = np.random.default_rng(seed)
            lq, gt = degrade(photo, label, generator, levels=[level]).lq, photo
            if large:
                lq, gt = enlarged(lq, size), enlarged(gt, size)
            measured.add(row, "input", lq, gt)
            measured.add(row, "tiles", run(engine, lq, "photo")[0], gt)
            coarse = Coarse(tensor(lq))
            restored = engine(coarse.lq)
            for exact, column in enumerate(measured.columns[2:]):
                changed = coarse.carried_back(restored, exact=bool(exact))
                measured.add(row, column, changed, gt)
    return measured


def noise(engine: Engine, photos: Path, size: float, *, count: int, seed: int) -> Measured:
    """Compare when the noise of a dark photo is removed, by a request-conditioned network.

    The reduced copy becomes that of the clean photo, as if restored perfectly: only noise differs.
    """
    quiet = engine.with_request(request_of(("GN",), engine.model.requests))
    measured = Measured(("noise kept", "before", "before, its light kept", "after", "no noise"))
    for (stops, sigma), gt in product(NOISY, photographs(photos, size, count=count, seed=seed)):
        row = f"{stops} stops, sigma {sigma}"
        dark = degrade(gt, "LL", np.random.default_rng(seed), levels=[stops]).lq
        generator = np.random.default_rng(seed)
        lq = degrade(dark, "GN", generator, variant="gaussian", levels=[sigma]).lq
        noisy, clean = Coarse(tensor(lq)), Coarse(tensor(gt)).lq
        raised = noisy.carried_back(clean)
        before = Coarse(quiet(tensor(lq)[None])[0].clamp(0, 1))
        light_kept = Coarse(before.carried_back(noisy.lq))
        images = {
            "noise kept": raised,
            "before": replaced(noisy, before.image).carried_back(clean),
            "before, its light kept": replaced(noisy, light_kept.image).carried_back(clean),
            "after": quiet(raised[None])[0].clamp(0, 1),
            "no noise": replaced(noisy, tensor(dark)).carried_back(clean),
        }
        for column, image in images.items():
            measured.add(row, column, image, gt)
    return measured


def replaced(coarse: Coarse, image: Tensor) -> Coarse:
    """Return the same reduced copy of another photo."""
    other = copy(coarse)
    other.image = image
    return other


def scene_seconds(engine: Engine, photos: Path, size: float, *, seed: int) -> float:
    """Return the CPU seconds that a hazy photo of 8 bits takes, from memory to memory."""
    (gt,) = photographs(photos, size, count=1, seed=seed)
    image = (degraded(gt, "hazy", seed=seed) * 255).round().astype(np.uint8)
    restore(engine, image, remove=("haze",))  # the first one counts the memory of the network, too
    began = time.process_time()
    restore(engine, image, remove=("haze",))
    return time.process_time() - began


def enlarged(image: Pixels, megapixels: float) -> Pixels:
    scale = (megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    channels = (Image.fromarray(image[..., i]) for i in range(3))
    large = [np.asarray(one.resize(size, Image.Resampling.LANCZOS)) for one in channels]
    return np.stack(large, axis=-1).clip(0, 1)


TABLES = {"photos": ways, "settings": settings, "degradation": either, "dark photo": noise}


@click.command()
@click.argument("photos", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--model", default="tiny", show_default=True)
@click.option("--megapixels", default=12.0, show_default=True)
@click.option("--count", default=2, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--only", type=click.Choice(list(TABLES)), multiple=True, help="These tables alone.")
def main(
    *, photos: Path, model: str, megapixels: float, count: int, seed: int, only: tuple[str, ...]
) -> None:
    """Degrade large photos made of the clean ones in PHOTOS, and restore them each way."""
    torch.set_num_threads(1)
    engine = open_engine(load_model(model), backend="torch")
    print(f"{machine()}, {engine.describe()}, one thread; {count} photos of {megapixels:g} MP\n")
    for first, measure in TABLES.items():
        if (only and first not in only) or (measure is noise and not engine.model.requests):
            continue
        print(measure(engine, photos, megapixels, count=count, seed=seed).table(first), "\n")
    if engine.model.requests and not only:
        seconds = scene_seconds(engine, photos, megapixels, seed=seed)
        print(f"A hazy photo, 8 bits, from memory to memory: {seconds:.1f} s")


if __name__ == "__main__":
    main()
