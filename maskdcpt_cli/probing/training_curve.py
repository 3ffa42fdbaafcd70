"""The networks of a training, from the weights that it kept (Fig. 2)."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import shown
from maskdcpt_cli.presets.load import rename_keys
from maskdcpt_cli.presets.parse import read_yaml
from maskdcpt_cli.presets.training import Run, load_preset
from maskdcpt_cli.probing.probed_models import ProbedModel, probed_model, untrained_like
from maskdcpt_cli.training.checkpointing import KEPT, CheckpointFolder
from maskdcpt_cli.training.run_folder import PRESET

ITERATION = re.compile(r"\d+$")  # at the end of a file's name, without its suffix


def trained_models(paths: Sequence[Path]) -> list[ProbedModel]:
    """Return the networks of trainings, by iteration; those of one training have one name.

    A run folder has the network that it began with, its kept weights and its result. Files in one
    folder are of one training; the number at the end of a file's name is its iteration.

    Raises:
        MaskDCPTError: If a folder has no kept weights, a file's name no number, or weights cannot
            be read.
    """
    models: list[ProbedModel] = []
    for folder in filter(Path.is_dir, paths):
        models += _of_run(folder)
    files = [path for path in paths if not path.is_dir()]
    for path in sorted(files, key=lambda path: (path.parent, _iteration(path))):
        models.append(_at(_iteration(path), path, name=shown(path.parent)))
    return models


def _of_run(folder: Path) -> list[ProbedModel]:
    kept = sorted((folder / KEPT).glob("*.safetensors"))
    if not kept:
        raise MaskDCPTError(
            f"'{shown(folder)}' has no kept weights: train with --set training.keep_every=N, or "
            "give the files of weights."
        )
    preset, final = _preset(folder / PRESET), CheckpointFolder(folder).weights("final")
    trained = {_iteration(path): path for path in kept}
    if final.exists():
        trained[preset.training.iterations] = final
    first = replace(_first(preset, kept[0]), name=shown(folder), iteration=0)
    return [first, *(_at(at, path, name=first.name) for at, path in sorted(trained.items()))]


def _preset(path: Path) -> Run:
    """Return the settings of a run; those of fine-tuning alone have a loss."""
    content = rename_keys(read_yaml(path))
    kind = "finetune" if isinstance(content, dict) and "loss" in content else "pretrain"
    return load_preset(kind, str(path))


def _first(preset: Run, kept: Path) -> ProbedModel:
    """Return the network that a run began with."""
    if preset.initialise_from:
        return probed_model(preset.initialise_from)
    return untrained_like(str(kept), seed=preset.training.seed)


def _at(iteration: int, path: Path, *, name: str) -> ProbedModel:
    return replace(probed_model(str(path)), name=name, iteration=iteration)


def _iteration(path: Path) -> int:
    if found := ITERATION.search(path.stem):
        return int(found[0])
    raise MaskDCPTError(
        f"The name of '{shown(path)}' does not end in its iteration, as 0010000.safetensors."
    )
