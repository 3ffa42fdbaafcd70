"""Universal image restoration: the public Python API, imported when first used."""

import importlib
from typing import TYPE_CHECKING

from maskdcpt_cli._version import __version__

if TYPE_CHECKING:
    from maskdcpt_cli.errors import MaskDCPTError
    from maskdcpt_cli.inference.backends import open_engine
    from maskdcpt_cli.inference.classify import Classified, classify, classify_files
    from maskdcpt_cli.inference.events import Outcome, Settings
    from maskdcpt_cli.inference.restore import restore, restore_folder
    from maskdcpt_cli.scoring.pairing import pair_files
    from maskdcpt_cli.scoring.scorer import score
    from maskdcpt_cli.synthesis.table import degrade
    from maskdcpt_cli.weights.zoo import load_classifier, load_model

__all__ = [
    "Classified",
    "MaskDCPTError",
    "Outcome",
    "Settings",
    "__version__",
    "classify",
    "classify_files",
    "degrade",
    "load_classifier",
    "load_model",
    "open_engine",
    "pair_files",
    "restore",
    "restore_folder",
    "score",
]

_ROOMS = {
    "Classified": "maskdcpt_cli.inference.classify",
    "MaskDCPTError": "maskdcpt_cli.errors",
    "Outcome": "maskdcpt_cli.inference.events",
    "Settings": "maskdcpt_cli.inference.events",
    "classify": "maskdcpt_cli.inference.classify",
    "classify_files": "maskdcpt_cli.inference.classify",
    "degrade": "maskdcpt_cli.synthesis.table",
    "load_classifier": "maskdcpt_cli.weights.zoo",
    "load_model": "maskdcpt_cli.weights.zoo",
    "open_engine": "maskdcpt_cli.inference.backends",
    "pair_files": "maskdcpt_cli.scoring.pairing",
    "restore": "maskdcpt_cli.inference.restore",
    "restore_folder": "maskdcpt_cli.inference.restore",
    "score": "maskdcpt_cli.scoring.scorer",
}


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module 'maskdcpt_cli' has no attribute '{name}'")
    return getattr(importlib.import_module(_ROOMS[name]), name)
