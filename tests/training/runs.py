"""Small training runs; also a program, to be started by torchrun and killed."""

import itertools
import os
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maskdcpt_cli.data.augment import CropFn, full_image
from maskdcpt_cli.data.mixture import Mixture, Sample, to_float
from maskdcpt_cli.data.order import SampleKey
from maskdcpt_cli.data.pairs import Pair
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.presets.data import TrainSynthesis
from maskdcpt_cli.presets.training import Finetune, Pretrain
from maskdcpt_cli.training import finetune, pretrain
from maskdcpt_cli.training.events import Event, Step, Validated
from tests.small import SMALL

SIDE = 32
LABELS = ("H", "GN", "LL")
NOISY = TrainSynthesis(variant="gaussian", levels=(50.0,))
SIZES = {**SMALL, "nafnet": {"width": 4, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]}}


@dataclass(frozen=True)
class Drawn:
    """Synthetic images of soft colours, with a darker lq or none; some cannot be read."""

    count: int
    degradation: str = "LL"
    clean: bool = False
    broken: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return self.count

    def read(self, index: int, crop_fn: CropFn = full_image) -> Pair:
        if index in self.broken:
            raise ImageError(f"{index}.png cannot be read.")
        coarse = np.random.default_rng(index).integers(60, 256, (6, 6, 3), np.uint8)
        gt = np.ascontiguousarray(coarse.repeat(8, axis=0).repeat(8, axis=1))
        gt = crop_fn(*gt.shape[:2]).of(gt)
        return Pair(f"{index}.png", self.degradation, gt, None if self.clean else gt // 4)

    def degradations(self) -> frozenset[str]:
        return frozenset({self.degradation})


ENTRIES = (
    ImageSet("a", Drawn(9)),
    ImageSet("a", Drawn(4, "GN", clean=True), repeat=2, synthesis=NOISY),
)


def batch_of(lq: Tensor, gt: Tensor, label: Tensor, number: Tensor) -> Sample:
    """A batch of images that have their label alone."""
    present = F.one_hot(label, len(LABELS)).float()
    return Sample(lq, gt, label, number, present, present, ())


def mixture(entries: Sequence[ImageSet] = ENTRIES) -> Mixture:
    return Mixture(entries, labels=LABELS, seed=3)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    nested = {
        key: _merged(base.get(key, {}), value) if isinstance(value, dict) else value
        for key, value in changes.items()
    }
    return {**base, **nested}


def _run(changes: dict[str, Any], **more: Any) -> dict[str, Any]:
    stage = {
        "iterations": changes.pop("iterations", 6),
        "crop_size": SIDE,
        "batch": changes.pop("batch", 4),
    }
    base = {
        "data": "synthetic",
        "backbone": "nafnet",
        "sizes": SIZES,
        "training": {"stages": [stage], "workers": 0, "save_every": 2},
        "optimizer": {"lr": {"initial": 3e-3}},
        "validation": {"every": 3, "images": 2, "crop_size": SIDE},
        **more,
    }
    return _merged(base, changes)


def pretraining(**changes: Any) -> Pretrain:
    heads = {"classifier_dims": (4, 8, 8, 8)}  # the released one has millions of parameters
    run = _run(changes, mask={"patch_size": 8}, heads=heads)
    return Pretrain.model_validate(run)


def finetuning(**changes: Any) -> Finetune:
    return Finetune.model_validate(_run(changes))


def started(preset: Pretrain | Finetune, run_dir: Path, **how: Any) -> Generator[Event, None, None]:
    data = how.pop("data", None) or mixture()
    how.setdefault("device", "cpu")
    if isinstance(preset, Pretrain):
        return pretrain.train(preset, data, run_dir, **how)
    return finetune.train(preset, data, run_dir, **how)


def steps(events: Iterable[Event]) -> list[Step]:
    return [event for event in events if isinstance(event, Step)]


def state(run_dir: Path) -> dict[str, Any]:
    return torch.load(run_dir / "last.state", weights_only=True)


def differing(one: Any, other: Any, key_path: str = "") -> list[str]:
    """Return the key paths at which two states differ in any bit."""
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, other) else [key_path]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [key_path]
        return [p for key in one for p in differing(one[key], other[key], f"{key_path}.{key}")]
    return [] if one == other else [key_path]


class Poisoned(Mixture):
    """A mixture with samples whose ground truth is NaN."""

    def __init__(self, *numbers: int) -> None:
        super().__init__(ENTRIES, labels=LABELS, seed=3)
        self.numbers = numbers

    def __getitem__(self, draw: SampleKey) -> Sample:
        sample = super().__getitem__(draw)
        return (
            sample._replace(gt=to_float(sample.gt) * torch.nan)
            if draw.number in self.numbers
            else sample
        )


def stopping_after(iteration: int, *, requested: bool = True) -> Callable[[], bool]:
    """Return a stop that is first requested in the iteration after this one."""
    calls = itertools.count()
    return lambda: next(calls) >= iteration and requested


# The run that two ranks train in two parts, and one rank in one. With a batch of 4, each rank has
# 2; sample 6 is of the third iteration, and of its second half.
SHARED = {"iterations": 6, "training": {"ema": 0.9, "save_every": 1}}
SHARED_POISON = 10


def main(run_dir: Path) -> None:
    """Resume or begin a run, and print each iteration."""
    preset = pretraining(**SHARED)
    for part in ("begun", "resumed"):
        second = os.environ.get("RANK") == "1"
        stop = stopping_after(3, requested=part == "begun" and second)
        events = started(
            preset, run_dir, data=Poisoned(SHARED_POISON), micro_batch=1, resume=True,
            validation=ENTRIES, stop=stop,
        )  # fmt: skip
        for event in events:
            if isinstance(event, Step):
                line = (part, os.environ.get("RANK"), event.iteration, event.skipped)
                sys.stdout.write(f"{line}\n")  # in one piece, as both ranks write
                sys.stdout.flush()
            if isinstance(event, Validated):
                sys.stdout.write(f"{(part, os.environ.get('RANK'), event.scores)}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
