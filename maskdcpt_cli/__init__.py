"""Universal image restoration: the public Python API, imported when first used."""

import importlib
from typing import TYPE_CHECKING

from maskdcpt_cli._version import __version__

if TYPE_CHECKING:
    from maskdcpt_cli.benchmarking.run import benchmark
    from maskdcpt_cli.errors import MaskDCPTError
    from maskdcpt_cli.inference.backends import open_engine
    from maskdcpt_cli.inference.classify import Classified, classify, classify_files
    from maskdcpt_cli.inference.events import Outcome, Settings
    from maskdcpt_cli.inference.exporting.export import Parity, export_model
    from maskdcpt_cli.inference.exporting.load import load_exported
    from maskdcpt_cli.inference.restore import restore, restore_folder
    from maskdcpt_cli.plugins import use_plugin
    from maskdcpt_cli.presets.training import load_preset
    from maskdcpt_cli.scoring.pairing import pair_files
    from maskdcpt_cli.scoring.scorer import score
    from maskdcpt_cli.scoring.summary import ScoreResult
    from maskdcpt_cli.synthesis.table import degrade
    from maskdcpt_cli.training.finetune import finetune
    from maskdcpt_cli.training.inputs import TrainingData
    from maskdcpt_cli.training.pretrain import pretrain
    from maskdcpt_cli.weights.zoo import load_classifier, load_model

__all__ = [
    "Classified",
    "MaskDCPTError",
    "Outcome",
    "Parity",
    "ScoreResult",
    "Settings",
    "TrainingData",
    "__version__",
    "benchmark",
    "classify",
    "classify_files",
    "degrade",
    "export_model",
    "finetune",
    "load_classifier",
    "load_exported",
    "load_model",
    "load_preset",
    "open_engine",
    "pair_files",
    "pretrain",
    "restore",
    "restore_folder",
    "score",
    "use_plugin",
]

_MODULES = {
    "Classified": "maskdcpt_cli.inference.classify",
    "MaskDCPTError": "maskdcpt_cli.errors",
    "Outcome": "maskdcpt_cli.inference.events",
    "Parity": "maskdcpt_cli.inference.exporting.export",
    "ScoreResult": "maskdcpt_cli.scoring.summary",
    "Settings": "maskdcpt_cli.inference.events",
    "TrainingData": "maskdcpt_cli.training.inputs",
    "benchmark": "maskdcpt_cli.benchmarking.run",
    "classify": "maskdcpt_cli.inference.classify",
    "classify_files": "maskdcpt_cli.inference.classify",
    "degrade": "maskdcpt_cli.synthesis.table",
    "export_model": "maskdcpt_cli.inference.exporting.export",
    "finetune": "maskdcpt_cli.training.finetune",
    "load_classifier": "maskdcpt_cli.weights.zoo",
    "load_exported": "maskdcpt_cli.inference.exporting.load",
    "load_model": "maskdcpt_cli.weights.zoo",
    "load_preset": "maskdcpt_cli.presets.training",
    "open_engine": "maskdcpt_cli.inference.backends",
    "pair_files": "maskdcpt_cli.scoring.pairing",
    "pretrain": "maskdcpt_cli.training.pretrain",
    "restore": "maskdcpt_cli.inference.restore",
    "restore_folder": "maskdcpt_cli.inference.restore",
    "score": "maskdcpt_cli.scoring.scorer",
    "use_plugin": "maskdcpt_cli.plugins",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'maskdcpt_cli' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)
