"""The ablations of the mask (Tables VII to IX): pre-training under each, and fine-tuning."""

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from maskdcpt_cli.benchmarking.published import paper_results
from maskdcpt_cli.degradations import SETTINGS
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.presets.training import Finetune, Pretrain, load_preset
from maskdcpt_cli.training.checkpointing import CheckpointFolder
from maskdcpt_cli.training.events import Event
from maskdcpt_cli.training.finetune import finetune
from maskdcpt_cli.training.inputs import TrainingData
from maskdcpt_cli.training.loop import Stop
from maskdcpt_cli.training.pretrain import pretrain
from maskdcpt_cli.training.recorders import read_log
from maskdcpt_cli.training.run_folder import LOG

BACKBONE = "promptir"  # that of the paper's ablations


class MaskVariant(NamedTuple):
    """A mask of an ablation."""

    value: str  # as in the paper
    overrides: tuple[str, ...]  # of the preset of pre-training


class Ablation(NamedTuple):
    """An ablation of the paper."""

    title: str  # as "Table VII"
    varied: str  # what its masks differ in
    content: str  # key in the file of published results
    masks: tuple[MaskVariant, ...]


# The paper's row without a mask has the figures of DCPT in Table I, which has two passes.
DCPT = MaskVariant("0", ("mask.ratio=0", "heads.clean_pass=true"))
ABLATIONS: Mapping[str, Ablation] = {
    "mask-ratio": Ablation(
        "Table VII", "mask ratio, %", "table_7_mask_ratio_percent",
        (DCPT, *(MaskVariant(f"{r}", (f"mask.ratio={r / 100}",)) for r in (25, 50, 75))),
    ),
    "patch-size": Ablation(
        "Table VIII", "patch size, pixels", "table_8_masked_patch_size",
        tuple(MaskVariant(f"{n}", (f"mask.patch_size={n}",)) for n in (1, 4, 16, 32)),
    ),
    "method": Ablation(
        "Table IX", "mask method", "table_9_masking_method",
        tuple(MaskVariant(m, (f"mask.method={m}",)) for m in ("square", "block-wise", "random")),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class AblationSettings:
    """What all runs of an ablation have in common.

    Args:
        folder: of all runs.
        preset: name of a preset of pre-training and of one of fine-tuning.
        data: the images to train and to validate on.
        backbone: name of the network.
        seeds: how many seeds, from 0, each mask is trained with.
        pretrain_overrides: of the preset of pre-training, as "training.iterations=2000".
        finetune_overrides: of the preset of fine-tuning.
        device: as "cuda" or "cpu"; None: a GPU where there is one.
    """

    folder: Path
    preset: str
    data: TrainingData
    backbone: str = BACKBONE
    seeds: int = 1
    pretrain_overrides: Sequence[str] = ()
    finetune_overrides: Sequence[str] = ()
    device: str | None = None


@dataclass(frozen=True)
class AblationRun:
    """Pre-training under a mask, and fine-tuning from there, with one seed."""

    value: str  # of the mask
    seed: int
    folder: Path
    pretraining: Pretrain
    finetuning: Finetune
    settings: AblationSettings

    def pretrain(self, stop: Stop) -> Generator[Event, None, None]:
        """Pre-train, or do what is left of it; see `pretrain`."""
        return pretrain(
            self.pretraining, self.settings.data, self.folder / "pretrain", **self._how(stop)
        )

    def finetune(self, stop: Stop) -> Generator[Event, None, None]:
        """Fine-tune, or do what is left of it; see `finetune`."""
        return finetune(
            self.finetuning, self.settings.data, self.folder / "finetune", **self._how(stop)
        )

    def psnr(self) -> dict[str, float]:
        """Return the PSNR in dB by degradation, of the last validation of fine-tuning."""
        log = read_log(self.folder / "finetune" / LOG)
        *_, last = (line["scores"] for line in log if "scores" in line)
        return {label: scores["psnr"] for label, scores in last.items()}

    def _how(self, stop: Stop) -> dict[str, Any]:
        return {"resume": True, "device": self.settings.device, "stop": stop}


class AblationRow(NamedTuple):
    """The PSNR in dB that fine-tuning reaches after pre-training under a mask."""

    value: str  # of the mask
    psnr: Mapping[str, tuple[float, ...]]  # of each seed, by degradation
    paper: Mapping[str, float]  # by degradation; empty if they are not those of 5D


def plan(ablation: Ablation, settings: AblationSettings) -> list[AblationRun]:
    """Return the runs of an ablation, mask by mask; nothing is trained or written yet.

    Masks that two ablations share have the same folder, so that they are trained once.

    Raises:
        MaskDCPTError: for settings or data that cannot be used.
    """
    runs = [
        _run(mask, settings, seed=seed) for mask in ablation.masks for seed in range(settings.seeds)
    ]
    if not settings.data.open(runs[0].finetuning.data).validation:
        raise MaskDCPTError(
            "There are too few images to hold some out, so no PSNR could be measured: give 10 "
            "photos or more, or a data preset with test sets."
        )
    return runs


def _run(mask: MaskVariant, settings: AblationSettings, *, seed: int) -> AblationRun:
    common = (f"backbone={json.dumps(settings.backbone)}", f"training.seed={seed}")
    pretraining = load_preset(
        "pretrain", settings.preset,
        overrides=[*common, *settings.pretrain_overrides, *mask.overrides],
    )  # fmt: skip
    assert isinstance(pretraining, Pretrain)
    method, ratio, patch_size = (
        pretraining.mask.method, pretraining.mask.ratio, pretraining.mask.patch_size,
    )  # fmt: skip
    folder = settings.folder / f"{method}-{ratio:g}-{patch_size}-seed{seed}"
    begin = str(CheckpointFolder(folder / "pretrain").weights("final"))
    finetuning = load_preset(
        "finetune", settings.preset,
        overrides=[*common, *settings.finetune_overrides, f"initialise_from={json.dumps(begin)}"],
    )  # fmt: skip
    assert isinstance(finetuning, Finetune)
    return AblationRun(mask.value, seed, folder, pretraining, finetuning, settings)


def rows(ablation: Ablation, runs: Sequence[AblationRun]) -> list[AblationRow]:
    """Return the table of finished runs, with the paper's figures."""
    content = paper_results()[ablation.content]
    printed = {f"{value}".replace("_", "-"): figures for value, figures in content.items()}
    found = []
    for mask in ablation.masks:
        reached = [run.psnr() for run in runs if run.value == mask.value]
        paper = dict(zip(SETTINGS["5d"], printed[mask.value], strict=True))
        if paper.keys() != reached[0].keys():
            paper = {}
        psnr = {label: tuple(one[label] for one in reached) for label in paper or reached[0]}
        found.append(AblationRow(mask.value, psnr, paper))
    return found
