"""A folder of photos against the network's own time for them: reading and writing must overlap.

python -m benchmarks.folder --photos 50 --megapixels 1
"""

import tempfile
import time
from pathlib import Path

import click
import numpy as np
from PIL import Image

from benchmarks.measure import machine, table
from maskdcpt_cli import load_model, open_engine, restore_folder


def photograph(megapixels: float, *, seed: int) -> Image.Image:
    """Return an example photo, enlarged and shifted: noise would not compress."""
    examples = sorted((Path(__file__).parents[1] / "examples").glob("*.jpg"))
    photo = Image.open(examples[seed % len(examples)]).convert("RGB")
    scale = (megapixels * 1e6 / (photo.width * photo.height)) ** 0.5
    size = (round(photo.width * scale), round(photo.height * scale))
    pixels = np.asarray(photo.resize(size, Image.Resampling.BICUBIC))
    return Image.fromarray(np.roll(pixels, 31 * seed, axis=1))


def write_photos(folder: Path, *, photos: int, megapixels: float, suffix: str) -> None:
    for seed in range(photos):
        photograph(megapixels, seed=seed).save(folder / f"{seed:03}{suffix}", quality=95)


@click.command()
@click.option("--photos", default=50, show_default=True)
@click.option("--megapixels", default=1.0, show_default=True)
@click.option("--model", default="tiny", show_default=True)
def main(photos: int, megapixels: float, model: str) -> None:
    """Time a folder end to end."""
    engine = open_engine(load_model(model))
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for suffix in (".jpg", ".png"):
            folder, out = Path(scratch, f"photos-{suffix[1:]}"), Path(scratch, f"out-{suffix[1:]}")
            folder.mkdir()
            write_photos(folder, photos=photos, megapixels=megapixels, suffix=suffix)
            list(restore_folder(engine, folder, out, existing="overwrite"))  # warms up
            began = time.perf_counter()
            outcomes = list(restore_folder(engine, folder, out, existing="overwrite"))
            whole = time.perf_counter() - began
            assert all(outcome.status == "restored" for outcome in outcomes)
            network = sum(outcome.seconds for outcome in outcomes)
            rows.append([suffix, f"{whole:.1f} s", f"{network:.1f} s", f"{whole / network:.3f}"])
    print(f"{photos} photos of {megapixels:g} MP, {engine.describe()}, {machine()}\n")
    print(table(["files", "the folder", "the network's own time", "ratio"], rows))


if __name__ == "__main__":
    main()
