"""The commands that read images, as they are typed in a folder that `lay_out` fills."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

from maskdcpt_cli.cli import main

SIDE = 64
OTHERS = ("a.png", "b.png", "c.png", "d.png", "e.png")
PRESET = """
setting: 5d
train:
  - degradation: H
    sources:
      - {name: own, lq: "lq/{path}", gt: "gt/{path}"}
"""
TRAINING = (
    *("--preset", "tiny", "--setting", "5d", "--device", "cpu", "--run-dir", "run"),
    *("--set", "training.stages=[{iterations: 1, crop_size: 32, batch: 2}]"),
    *("--set", "training.workers=0", "--set", "validation={images: 1, crop_size: 32}"),
    *("--set", "sizes.nafnet={width: 8, enc_blk_nums: [1, 1, 1, 1]}"),
)
STUDY = ("-m", "tiny", "--size", "32", "--images", "6", "--folder", "haze=lq")

# Each reads lq or lq and gt, and writes below out if it writes.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "restore": (
        *("restore", "lq", "-o", "out", "--compare", "--report", "report.html"),
        *("--backend", "torch"),
    ),
    "classify": ("classify", "lq", "--map", "out", "--csv", "classify.csv"),
    "degrade": ("degrade", "lq", "-o", "out", "--type", "noise", "--sheet", "--jobs", "1"),
    "score": ("score", "lq", "gt", "--csv", "score.csv", "--html", "score.html"),
    "compare": ("compare", "gt", "--input", "lq", "--gt", "gt", "-o", "grid.png"),
    "benchmark": (
        *("benchmark", "--pairs", "lq", "gt", "-m", "identity", "-o", "out", "--metrics", "psnr"),
        *("--save-images", "--jobs", "1"),
    ),
    "study knn": ("study", "knn", *STUDY, "--folder", "noise=gt", "--csv", "study.csv"),
    "data check": ("data", "check", "--data-preset", "preset.yaml", "--data-root", "."),
    "data pack": (
        *("data", "pack", "--pairs", "lq", "gt", "--type", "haze", "-o", "out"),
        *("--crop-size", "32", "--jobs", "1"),
    ),
    "pretrain": ("pretrain", "--pairs", "lq", "gt", "--type", "haze", *TRAINING),
    "finetune": ("finetune", "--pairs", "lq", "gt", "--type", "haze", *TRAINING),
}


def lay_out(root: Path, *names: str) -> None:
    """Write images of these names, and OTHERS, to lq and gt, and a preset of both."""
    generator = np.random.default_rng(0)
    for folder in ("lq", "gt"):
        (root / folder).mkdir()
        for name in (*names, *OTHERS):
            pixels = generator.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
            Image.fromarray(pixels).save(root / folder / name)
    (root / "preset.yaml").write_text(PRESET, encoding="utf-8")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)
