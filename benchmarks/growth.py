"""How time and peak memory grow with the photo, each size in a process of its own.

python -m benchmarks.growth --plot docs/growth.png
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from benchmarks.folder import photograph
from benchmarks.measure import machine, table
from maskdcpt_cli import load_model, open_engine
from maskdcpt_cli.inference.events import Job, Settings
from maskdcpt_cli.inference.restore import restore_files
from maskdcpt_cli.models import build_backbone

SIZES = (0.25, 1, 4, 12, 24, 50, 100)  # megapixels
RELEASED = "nafnet-released-size"  # random weights: what counts here is how large they are


def restore_one(photo: Path, model: str, backend: str) -> dict[str, float]:
    """Seconds and peak resident memory of this process for one photo."""
    network = build_backbone("nafnet").eval() if model == RELEASED else load_model(model)
    engine = open_engine(network, backend=backend)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    job = Job(photo, photo.with_name(f"restored{photo.suffix}"))
    events = list(restore_files(engine, [job], Settings(), existing="overwrite"))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(events[-1], file=sys.stderr)
    return {"seconds": seconds, "peak": peak / 2**20, "before": before / 2**20}


def plot(results: dict[float, dict[str, float]], path: Path, title: str) -> None:
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    sizes = list(results)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5))
    left.loglog(sizes, [result["seconds"] for result in results.values()], marker="o")
    left.set(xlabel="megapixels", ylabel="seconds", title="Time")
    right.plot(sizes, [result["peak"] for result in results.values()], marker="o")
    right.set(xlabel="megapixels", ylabel="GiB", title="Peak memory")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


@click.command()
@click.option("--sizes", default=",".join(map(str, SIZES)), show_default=True)
@click.option("--model", default="tiny", show_default=True, help=f"Or {RELEASED}.")
@click.option("--backend", default="auto", show_default=True)
@click.option("--plot", "target", type=click.Path(path_type=Path))
@click.option("--photo", type=click.Path(path_type=Path), hidden=True)
def main(sizes: str, model: str, backend: str, target: Path | None, photo: Path | None) -> None:
    """Restore photos of growing size."""
    if photo:
        print(json.dumps(restore_one(photo, model, backend)))
        return
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        for megapixels in map(float, sizes.split(",")):
            path = Path(scratch, "photo.jpg")
            photograph(megapixels, seed=1).save(path, quality=95)
            arguments = ["--photo", str(path), "--model", model, "--backend", backend]
            command = [sys.executable, "-m", "benchmarks.growth", *arguments]
            answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results[megapixels] = json.loads(answer.stdout.splitlines()[-1])
            print(megapixels, results[megapixels], file=sys.stderr)
    rows = [
        [
            f"{size:g}",
            f"{r['seconds']:.1f} s",
            f"{r['seconds'] / size:.2f} s",
            f"{r['peak']:.2f} GiB",
        ]
        for size, r in results.items()
    ]
    print(f"{model}, {backend} backend, {machine()}\n")
    print(table(["megapixels", "time", "per megapixel", "peak memory of the process"], rows))
    if target:
        plot(results, target, f"maskdcpt restore, {model}, {machine()}")


if __name__ == "__main__":
    main()
