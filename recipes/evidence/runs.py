"""A run is one of the program's own commands, so that each can be looked at and resumed."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
import yaml

from maskdcpt_cli.degradations import SETTINGS
from maskdcpt_cli.presets.training import load_preset
from maskdcpt_cli.training.recorders import read_log
from maskdcpt_cli.training.task import fork_seed, init_backbone, options_of
from maskdcpt_cli.training.validation import mean_score
from maskdcpt_cli.weights.checkpoint import Checkpoint, read_checkpoint, save_checkpoint

SETTING = "5d"  # of Table I

Kind = Literal["pretrain", "finetune"]


@dataclass(frozen=True)
class Run:
    """One command of the program and the folder that it fills."""

    folder: Path
    kind: Kind
    preset: str
    data: Path
    seed: int
    iterations: int
    settings: tuple[str, ...] = ()
    initialise_from: Path | None = None

    @property
    def final(self) -> Path:
        return self.folder / "final.safetensors"

    def do(self, *, threads: int) -> None:
        """Run the command, or what is left of it."""
        if self.final.exists():
            return
        settings = (
            *self.settings,
            f"data={self.data}",
            f"training.iterations={self.iterations}",
            f"training.seed={self.seed}",
        )
        command = [
            *(sys.executable, "-m", "maskdcpt_cli", self.kind, "--preset", self.preset),
            *("--data-root", str(self.data.parent), "--run-dir", str(self.folder)),
            *(word for setting in settings for word in ("--set", setting)),
            *(["--init-from", str(self.initialise_from)] if self.initialise_from else []),
            *(["--resume"] if self.folder.exists() else []),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        output = self.folder.with_name(f"{self.folder.name}.txt")  # its name has a dot: 0.001
        with output.open("a", encoding="utf-8") as log:
            subprocess.run(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, check=True
            )

    @cached_property
    def lines(self) -> list[dict[str, Any]]:
        return list(read_log(self.folder / "log.jsonl"))

    def seconds(self) -> float:
        """Return the median seconds of an iteration: others may have used the processor, too."""
        steps = [line for line in self.lines if "images_per_second" in line]
        return steps[0]["batch"] / median(step["images_per_second"] for step in steps)

    def begun_iterations(self) -> int | None:
        """Return the length of a run that was begun, which stays; None before."""
        preset = self.folder / "preset.yaml"
        if not preset.exists():
            return None
        stages = yaml.safe_load(preset.read_text(encoding="utf-8"))["training"]["stages"]
        return sum(stage["iterations"] for stage in stages)

    def curve(self, metric: str) -> Iterator[tuple[int, float]]:
        """Yield the mean over degradations at each validation."""
        for line in self.lines:
            if "scores" in line:
                mean = mean_score(line["scores"], metric)
                if mean is not None:
                    yield line["iteration"], mean


def write_first_weights(
    path: Path,
    *,
    preset: str,
    seed: int,
    settings: Sequence[str] = (),
    pretrained: Path | None = None,
) -> None:
    """Write the weights that fine-tuning begins with: random or an encoder's, and a zero head.

    With a zero head every arm begins as the identity, whatever its features are.
    """
    run = load_preset("finetune", preset, overrides=settings)
    with fork_seed(seed):
        backbone = init_backbone(run, SETTINGS[SETTING])
    if pretrained is not None:
        backbone.load_state_dict(read_checkpoint(pretrained).state_dict, strict=False)
    with torch.no_grad():
        for name in backbone.beyond_features:
            for parameter in backbone.get_submodule(name).parameters():
                parameter.zero_()
    checkpoint = Checkpoint(
        backbone=run.backbone,
        options=options_of(backbone),
        state_dict=backbone.state_dict(),
        degradations=SETTINGS[SETTING],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(checkpoint, path)
