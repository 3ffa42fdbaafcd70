"""Small shards."""

from pathlib import Path

import numpy as np

from maskdcpt_cli.data.pairs import FilePairs, Names
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.data.shards import stored_png
from maskdcpt_cli.data.shards.pack_items import PackItems
from maskdcpt_cli.data.shards.packing import Cropping, measure, pack, plan

SIDE = 16


def packed(folder: Path, *, images: int, clean: bool = False) -> Path:
    """Shards of haze, gt of image n being n all over, lq 100 more; or of the gt alone."""
    for number in range(images):
        for side, value in (("gt", number), ("lq", 100 + number)):
            (folder / side).mkdir(parents=True, exist_ok=True)
            pixels = np.full((SIDE, SIDE, 3), value, np.uint8)
            (folder / side / f"{number}.png").write_bytes(stored_png.encode(pixels))
    names = [f"{number}.png" for number in range(images)]
    gt, lq = (Names(f"{side}/{name}" for name in names) for side in ("gt", "lq"))
    pairs = FilePairs(folder, gt, None if clean else lq, "H")
    items = PackItems([ImageSet("some", pairs)])
    out = folder / "out"
    plans, _ = plan(items, measure(items, jobs=1), cropping=Cropping(), shard_size=10_000)
    list(pack(plans, items, out, cropping=Cropping(), jobs=1))
    return out
