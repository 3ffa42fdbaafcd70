"""Runs whose batches three processes cannot share evenly; a program, to be started by torchrun."""

import os
import sys
from pathlib import Path

from maskdcpt_cli.presets.training import Finetune, Pretrain
from maskdcpt_cli.training.events import Notice, Step
from tests.training.runs import SIDE, finetuning, pretraining, started, stopping_after

STAGES = {
    "stages": [
        {"iterations": 3, "crop_size": SIDE, "batch": 4},
        {"iterations": 3, "crop_size": SIDE, "batch": 2},
    ],
    "ema": 0.9,
}
RUNS = {
    "pretrain": pretraining(training=STAGES),
    "finetune": finetuning(
        training=STAGES, optimizer={"clip": 0.5}, conductance={"steps": 2, "images": 2}
    ),
}
WEIGHTS = "pretrained"  # beside the folder of fine-tuning: the folder of its weights


def run_of(kind: str, run_dir: Path) -> Pretrain | Finetune:
    weights = run_dir.parent / WEIGHTS / "final.safetensors"
    return RUNS[kind].model_copy(
        update={"initialise_from": str(weights) if kind == "finetune" else None}
    )


def main(kind: str, run_dir: Path) -> None:
    """Train in two parts, the second of which resumes, and print what the first rank reports."""
    for part in ("begun", "resumed"):
        stop = stopping_after(3, requested=part == "begun")
        for event in started(run_of(kind, run_dir), run_dir, micro_batch=1, resume=True, stop=stop):
            if os.environ["RANK"] != "0":
                continue
            if isinstance(event, Step):
                shown((part, event.iteration, event.batch, dict(event.losses)))
            if isinstance(event, Notice) and "without work" in event.text:
                shown(("notice", event.text))


def shown(line: tuple[object, ...]) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
