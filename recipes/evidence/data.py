"""The photos of the study: those of pre-training, of fine-tuning, and of validation differ."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from maskdcpt_cli.degradations import SETTINGS
from maskdcpt_cli.presets.load import load_data
from recipes.evidence.runs import SETTING
from recipes.tiny.photographs import pack, split

FEW = 20  # photos of fine-tuning where there are few


class DataPresets(NamedTuple):
    """Data presets, all with the same test sets."""

    pretraining: Path  # on one half of the photos
    finetuning: Path  # on the other half
    few: Path  # on some of the latter


def prepare(photos: Sequence[Path], out: Path) -> DataPresets:
    """Write photos into OUT in shards, and presets of them; what is there stays."""
    presets = DataPresets(*(out / f"{name}.yaml" for name in DataPresets._fields))
    if presets.few.exists():
        return presets
    split(photos, out)
    train = sorted((out / "train").iterdir())
    parts = (train[::2], train[1::2], train[1::2][:FEW])
    for preset, part in zip(presets, parts, strict=True):
        chosen = out / preset.stem
        chosen.mkdir(exist_ok=True)
        for photo in part:
            (chosen / photo.name).hardlink_to(photo)
        pack(chosen, out / f"shards-{preset.stem}")
        content = _preset(f"shards-{preset.stem}/index.json")
        preset.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return presets


def _preset(shards: str) -> dict[str, object]:
    synthesis = {
        part.degradation: part.synthesis.model_dump(exclude_defaults=True)  # as a test set takes it
        for part in load_data(SETTING).train
    }

    def parts(source: object) -> list[dict[str, object]]:
        return [
            {"degradation": label, "synthesis": synthesis[label], "sources": [source]}
            for label in SETTINGS[SETTING]
        ]

    return {
        "setting": SETTING,
        "train": parts({"name": "photos", "shards": shards, "clean": True}),
        "test": parts({"name": "photos", "gt": "unseen/{path}"}),
    }
