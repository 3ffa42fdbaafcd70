"""Tiled against untiled output: networks that pool globally see the statistics of their tile.

python -m benchmarks.tiles --model tiny
"""

from pathlib import Path

import click
import numpy as np
from PIL import Image

from benchmarks.folder import photograph
from benchmarks.measure import machine, medians, table
from maskdcpt_cli import Settings, load_model, open_engine, restore


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.square(a.astype(np.float64) - b).mean()
    return 10 * np.log10(255**2 / error) if error else float("inf")


@click.command()
@click.option("--model", default="tiny", show_default=True)
@click.option("--megapixels", default=4.0, show_default=True)
@click.option("--tiles", default="128,256,384,512,768,1024,1536", show_default=True)
@click.option("--overlap", default=32, show_default=True)
@click.option("--photo", type=click.Path(path_type=Path, exists=True))
def main(model: str, megapixels: float, tiles: str, overlap: int, photo: Path | None) -> None:
    """Compare tile sizes with the photo in one piece."""
    engine = open_engine(load_model(model))
    source = Image.open(photo).convert("RGB") if photo else photograph(megapixels, seed=3)
    image = np.asarray(source)
    whole = restore(engine, image, settings=Settings(tile=0))
    sizes = [int(tile) for tile in tiles.split(",")]

    def run(tile: int) -> np.ndarray:
        return restore(engine, image, settings=Settings(tile=tile, overlap=overlap))

    seconds = medians({str(tile): lambda tile=tile: run(tile) for tile in sizes}, rounds=2)
    rows = [
        [
            tile,
            f"{psnr(run(tile), whole):.1f} dB",
            f"{seconds[str(tile)] / image[..., 0].size * 1e6:.2f} s",
        ]
        for tile in sizes
    ]
    print(f"{image.shape[1]}x{image.shape[0]}, {engine.describe()}, {machine()}\n")
    print(table(["tile", "PSNR against one piece", "per megapixel"], rows))


if __name__ == "__main__":
    main()
