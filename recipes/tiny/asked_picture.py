"""The picture of a photo with haze and noise, of which a network is asked to remove four things.

python -m recipes.tiny.asked_picture asked.safetensors photo.jpg docs/asked.jpg
"""

from pathlib import Path

import click
import numpy as np
from numpy.random import default_rng
from PIL import Image

from maskdcpt_cli import load_model
from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.images.contact_sheets import grid
from maskdcpt_cli.images.reading import read_rgb
from maskdcpt_cli.synthesis import contract
from maskdcpt_cli.synthesis.composition import compose
from maskdcpt_cli.synthesis.table import sample
from recipes.tiny.asked import RestoreByRequest

WIDTH = 400  # of each image on the sheet, in pixels
HAZE, NOISE = 1, 10  # optical depth, and sigma of 255
REQUESTS = {"nothing": (), "noise": ("GN",), "haze": ("H",), "haze and noise": ("H", "GN")}


@click.command()
@click.argument("model", type=click.Path(exists=True, dir_okay=False))
@click.argument("photo", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("path", default="results/asked.jpg", type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Of the haze and the noise.")
def main(model: str, photo: Path, path: Path, *, seed: int) -> None:
    """Show PHOTO with haze and noise, what MODEL makes of it, and what it should make.

    PATH is results/asked.jpg by default.
    """
    network = RestoreByRequest(load_model(model))
    clean = _reduced(read_rgb(photo))
    generator = default_rng(seed)
    steps = [
        sample("H", generator, variant="homogeneous", levels=(HAZE,)),
        sample("GN", generator, variant="gaussian", levels=(NOISE,)),
    ]
    lq = compose(clean, steps)
    rows = [
        [network(lq, frozenset(request)) for request in REQUESTS.values()],
        [compose(clean, steps, without=request) for request in REQUESTS.values()],
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = grid(
        [[_pixels(image) for image in row] for row in rows],
        column_titles=[f"asked for {name}" for name in REQUESTS],
        row_titles=["restored", "target"],
    )
    Image.fromarray(sheet).save(path, quality=88)


def _reduced(photo: Pixels) -> contract.Image:
    height, width = photo.shape[:2]
    size = (WIDTH, round(height * WIDTH / width))
    resized = Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS)
    return np.divide(np.asarray(resized, np.uint8), 255, dtype=np.float32)


def _pixels(image: contract.Image) -> Pixels:
    return np.rint(image * 255).astype(np.uint8)


if __name__ == "__main__":
    main()
