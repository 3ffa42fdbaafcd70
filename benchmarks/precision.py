"""How far bf16 is from fp32 on photos, for every backend that has it, in PSNR.

python -m benchmarks.precision examples/ photos/ -m tiny
"""

from pathlib import Path
from statistics import median

import click
import numpy as np

from benchmarks.measure import table
from maskdcpt_cli import load_model, open_engine, restore
from maskdcpt_cli.data.sets import from_photos
from maskdcpt_cli.inference.backends import BACKENDS

CHANGED = 1e-3  # mean square of what the network changes, from which its relative error is reported
EPS = 1e-12  # mean square error of equal images


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("-m", "--model", default="tiny", show_default=True)
def main(folders: tuple[Path, ...], model: str) -> None:
    """Restore the photos in FOLDERS in both precisions."""
    network = load_model(model)
    exact = open_engine(network, precision="fp32", backend="torch")
    engines = {
        name: open_engine(network, precision="bf16", backend=name)
        for name, backend in BACKENDS.items()
        if backend.installed and "bf16" in backend.load().precisions
    }
    values: dict[str, list[float]] = {name: [] for name in engines}
    relative: dict[str, list[float]] = {name: [0] for name in engines}
    sets = [one for folder in folders for one in from_photos(folder)]
    for pixels in (one.pairs.read(i).gt for one in sets for i in range(len(one))):
        lq = np.divide(pixels, 255, dtype=np.float32)
        expected = restore(exact, lq)
        change = float(np.square(expected - lq).mean())
        for name, engine in engines.items():
            error = float(np.square(restore(engine, lq) - expected).mean())
            values[name].append(-10 * np.log10(error + EPS))
            if change > CHANGED:
                relative[name].append((error / change) ** 0.5)
    header = ["backend", "photos", "lowest", "median", "below 50 dB", "of the change, at most"]
    rows = [
        [name, f"{len(psnr)}", f"{min(psnr):.1f}", f"{median(psnr):.1f}",
         f"{sum(one < 50 for one in psnr)}", f"{max(relative[name]):.1%}"]
        for name, psnr in values.items()
    ]  # fmt: skip
    print(table(header, rows))


if __name__ == "__main__":
    main()
