"""The picture of the README, from the photos in examples/.

python -m recipes.tiny.picture docs/before-after.jpg
"""

from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageOps

from maskdcpt_cli import load_model, open_engine, restore
from maskdcpt_cli.images.contact_sheets import grid

EXAMPLES = Path(__file__).parents[2] / "examples"
SHOWN = ("kitchen-dark.jpg", "town-haze.jpg", "cat-noise.png")
SIZE = (420, 300)


@click.command()
@click.argument("path", default="results/before-after.jpg", type=click.Path(path_type=Path))
def main(path: Path) -> None:
    """Restore three examples and show them below what they were.

    PATH is results/before-after.jpg by default.
    """
    engine = open_engine(load_model())
    before = [Image.open(EXAMPLES / name).convert("RGB") for name in SHOWN]
    after = [Image.fromarray(restore(engine, np.asarray(photo))) for photo in before]
    rows = [
        [np.asarray(ImageOps.fit(photo, SIZE, Image.Resampling.LANCZOS)) for photo in photos]
        for photos in (before, after)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    titles = ["low light", "haze", "noise"]
    sheet = grid(rows, column_titles=titles, row_titles=["before", "after"])
    Image.fromarray(sheet).save(path, quality=88)


if __name__ == "__main__":
    main()
