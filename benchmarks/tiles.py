"""Photos in tiles that pool by themselves, in tiles that pool over the photo, and in one piece.

python -m benchmarks.tiles PHOTOS --megapixels 6,12,24
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from benchmarks.measure import machine, psnr, table
from maskdcpt_cli import load_model, open_engine
from maskdcpt_cli.inference.backends import Engine
from maskdcpt_cli.inference.backends.engine import RestoreTile
from maskdcpt_cli.inference.tile_size import choose_overlap, choose_samples
from maskdcpt_cli.inference.tiling import Band, restore_tiles
from maskdcpt_cli.synthesis.table import degrade

Pixels = NDArray[np.float32]  # (H, W, 3) sRGB in [0, 1]

# Degradation, variant and level; evenly dark and hazy, as a photo and not each tile decides.
KINDS = {
    "dark": ("LL", "low-light", 3.5),
    "hazy": ("H", "homogeneous", 1.5),
    "noisy": ("GN", "gaussian", 25),
    "clean": None,
}
WAYS = ("own", "photo", "one piece")
WORDS = {
    "own": "tiles, each pooled by itself",
    "photo": "tiles, pooled over the photo",
    "one piece": "one piece",
}
TILE = 1024
OTHER_TILE = 640
JOINED = 3  # photographs of a panorama
SHARED = 0.15  # of the width of each, faded into the next one


def enlarged(photo: Path, megapixels: float) -> Pixels:
    image = Image.open(photo).convert("RGB")
    scale = (megapixels * 1e6 / (image.width * image.height)) ** 0.5
    size = (round(image.width * scale), round(image.height * scale))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS), np.float32) / 255


def panorama(photos: Sequence[Path], megapixels: float) -> Pixels:
    """Return photographs side by side, 4:3 each, every one faded into the next."""
    images = [Image.open(photo).convert("RGB") for photo in photos]
    height = round((megapixels * 1e6 / (4 / 3 * (len(images) - SHARED * (len(images) - 1)))) ** 0.5)
    width = round(4 / 3 * height)
    shared = round(SHARED * width)
    canvas = np.zeros((height, len(images) * (width - shared) + shared, 3), np.float32)
    fade = np.linspace(0, 1, shared, dtype=np.float32)[:, None]
    for i, image in enumerate(images):
        scale = max(width / image.width, height / image.height)
        size = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
        pixels = np.asarray(image.resize(size, Image.Resampling.LANCZOS), np.float32) / 255
        pixels = pixels[:height, :width].copy()
        if i:
            pixels[:, :shared] *= fade
        if i < len(images) - 1:
            pixels[:, -shared:] *= 1 - fade
        canvas[:, i * (width - shared) :][:, :width] += pixels
    return canvas


def degraded(gt: Pixels, kind: str, *, seed: int) -> Pixels:
    degradation = KINDS[kind]
    if degradation is None:
        return gt
    abbreviation, variant, level = degradation
    generator = np.random.default_rng(seed)
    return degrade(gt, abbreviation, generator, variant=variant, levels=[level]).lq


class Watched:
    """An engine whose tiles are kept; with `own` each tile pools by itself, as a photo would."""

    def __init__(self, engine: Engine, *, own: bool) -> None:
        self.engine = engine
        self.own = own
        self.tiles: list[tuple[Tensor, Tensor]] = []  # box, restored

    def __call__(self, lq: Tensor) -> Tensor:
        return self.engine(lq)

    def record(self, tiles: Tensor, boxes: Tensor) -> RestoreTile:
        def restore_by_itself(lq: Tensor, _box: Tensor) -> Tensor:
            return self.engine(lq)

        restore = restore_by_itself if self.own else self.engine.record(tiles, boxes)

        def restore_and_keep(lq: Tensor, box: Tensor) -> Tensor:
            restored = restore(lq, box)
            self.tiles.append((box[0], restored[0]))
            return restored

        return restore_and_keep


def run(engine: Engine, lq: Pixels, way: str, *, tile: int = TILE) -> tuple[Pixels, float]:
    """Return the restored photo and the largest step of mean colour between two tiles."""
    image, network = torch.from_numpy(lq).permute(2, 0, 1), Watched(engine, own=way == "own")
    canvas = torch.empty_like(image)
    for step in restore_tiles(
        network,
        lambda rows, columns: image[:, rows, columns],
        lq.shape[:2],
        tile=0 if way == "one piece" else tile,
        overlap=choose_overlap(tile),
        multiple=engine.size_multiple,
        samples=choose_samples(engine),
    ):
        if isinstance(step, Band):
            canvas[:, step.rows] = step.restored
    size = [-(-side // engine.size_multiple) * engine.size_multiple for side in lq.shape[:2]]
    border = max(steps(network.tiles, torch.tensor(size * 2)), default=0.0)
    return canvas.clip(0, 1).permute(1, 2, 0).numpy(), border


def steps(tiles: Sequence[tuple[Tensor, Tensor]], size: Tensor) -> Iterator[float]:
    """Yield the difference of two neighbours in the mean colour where they blend, of 255."""
    boxes = [((box * size).round().int(), restored.clip(0, 1)) for box, restored in tiles]
    for (a, one), (b, other) in combinations(boxes, 2):
        start, stop = torch.maximum(a[:2], b[:2]), torch.minimum(a[:2] + a[2:], b[:2] + b[2:])
        side = (stop - start).tolist()
        if min(side) <= 0 or max(side) < 2 * min(side):
            continue  # apart, or corner to corner
        across = side.index(min(side))
        start[across] += side[across] // 3
        stop[across] -= side[across] // 3
        means = []
        for box, restored in ((a, one), (b, other)):
            (top, left), (bottom, right) = (start - box[:2]).tolist(), (stop - box[:2]).tolist()
            means.append(restored[:, top:bottom, left:right].mean(dim=(1, 2)))
        yield float((means[0] - means[1]).abs().max()) * 255


def photographs(folder: Path, megapixels: float, *, count: int, seed: int) -> Iterator[Pixels]:
    """Yield photos, every second one enlarged, every second one a panorama."""
    files = sorted(path for path in folder.iterdir() if path.suffix in {".png", ".avif", ".jpg"})
    order = np.random.default_rng(seed).permutation(len(files)).tolist()
    for i in range(count):
        some = [files[order.pop()] for _ in range(JOINED)]
        yield panorama(some, megapixels) if i % 2 else enlarged(some[0], megapixels)


def cost(engine: Callable[[], Engine], photo: Pixels, way: str) -> dict[str, float]:
    """Return seconds of the first and of the next photo, and peak memory of this process."""
    began = time.perf_counter()
    opened = engine()
    seconds = []
    for _ in range(2):
        run(opened, photo, way)
        seconds.append(time.perf_counter() - began - sum(seconds))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"first": seconds[0], "next": seconds[1], "peak": peak}


def costs(photos: Path, model: str, backend: str) -> str:
    """Return the table of seconds and memory, each way in a process of its own."""
    rows = []
    for way in WAYS:
        command = [sys.executable, "-m", "benchmarks.tiles", str(photos), "--model", model]
        command += ["--backend", backend, "--megapixels", "12", "--cost-of", way]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        taken = json.loads(answer.stdout.splitlines()[-1])
        seconds = [f"{taken[name]:.1f} s" for name in ("first", "next")]
        rows.append([WORDS[way], *seconds, f"{taken['peak']:.2f} GiB"])
    return table(["12 megapixels in", "first photo", "next photo", "peak memory"], rows)


class Result(NamedTuple):
    """The measurements of one photo, restored one way."""

    psnr: float
    step: float  # of mean colour between two tiles, the largest, of 255
    exposure: float  # by how much of 255 it differs with tiles of OTHER_TILE


def measure(engine: Engine, gt: Pixels, kind: str, way: str, *, seed: int) -> Result:
    lq = degraded(gt, kind, seed=seed)
    restored, step = run(engine, lq, way)
    exposure = 0.0
    if way == "photo":
        other, _ = run(engine, lq, way, tile=OTHER_TILE)
        exposure = abs(float(restored.mean() - other.mean())) * 255
    result = Result(psnr(restored, gt), step, exposure)
    print(f"{gt.shape[1]}x{gt.shape[0]} {kind} {way} {result}", file=sys.stderr)
    return result


def row(kind: str, way: str, results: Sequence[Result]) -> list[str]:
    levels = [result.psnr for result in results]
    steps = [result.step for result in results]
    return [
        kind,
        WORDS[way],
        f"{np.mean(levels):.2f} dB ({min(levels):.2f})",
        "" if way == "one piece" else f"{np.mean(steps):.1f} ({max(steps):.1f})",
        f"{max(result.exposure for result in results):.2f}" if way == "photo" else "",
    ]


HEADER = (
    "photos",
    "restored in",
    "PSNR to the ground truth, mean (worst)",
    "step of mean colour between tiles, mean (largest), of 255",
    f"exposure with tiles of {OTHER_TILE}, of 255",
)


@click.command()
@click.argument("photos", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--model", default="tiny", show_default=True)
@click.option("--backend", default="auto", show_default=True)
@click.option("--megapixels", default="6,12,24", show_default=True)
@click.option("--count", default=2, show_default=True, help="Photos of each size.")
@click.option("--seed", default=0, show_default=True)
@click.option("--cost-of", type=click.Choice(WAYS), hidden=True)
def main(
    *,
    photos: Path,
    model: str,
    backend: str,
    megapixels: str,
    count: int,
    seed: int,
    cost_of: str | None,
) -> None:
    """Build large photos from the clean ones in PHOTOS and restore them the three ways."""
    sizes = [float(size) for size in megapixels.split(",")]
    network = partial(open_engine, load_model(model), backend=backend)
    if cost_of:
        (photo,) = photographs(photos, sizes[0], count=1, seed=seed)
        print(json.dumps(cost(network, photo, cost_of)))
        return
    print(f"{machine()}\n\n{costs(photos, model, backend)}\n")
    engine = network()
    results: dict[tuple[str, str], list[Result]] = {}
    for size in sizes:
        for gt in photographs(photos, size, count=count, seed=seed):
            for kind, way in product(KINDS, WAYS):
                results.setdefault((kind, way), []).append(
                    measure(engine, gt, kind, way, seed=seed)
                )
    print(f"{count} photos each of {megapixels} megapixels, {engine.describe()}\n")
    print(table(HEADER, [row(*key, measured) for key, measured in results.items()]))


if __name__ == "__main__":
    main()
