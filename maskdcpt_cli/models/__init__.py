"""Networks: tensors in, tensors out; no disk, no configuration, no logging.

The names of the backbones are known without importing torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from maskdcpt_cli.errors import unknown

if TYPE_CHECKING:
    from maskdcpt_cli.models.backbone import Backbone, Encoded

__all__ = ["BACKBONES", "Backbone", "Encoded", "backbone_class", "build_backbone"]

BACKBONES: dict[str, str] = {  # module in this package: its class; a subclass before its base
    "nafnet": "NAFNet",
    "promptir": "PromptIR",
    "restormer": "Restormer",
    "swinir": "SwinIR",
}


def __getattr__(name: str) -> object:
    if name not in ("Backbone", "Encoded"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.backbone"), name)


def backbone_class(name: str) -> "type[Backbone]":
    """Return the class of a backbone; ValueError for a name that does not exist."""
    if name not in BACKBONES:
        raise ValueError(unknown("backbone", name, BACKBONES))
    found: type[Backbone] = getattr(import_module(f"{__name__}.{name}"), BACKBONES[name])
    return found


def build_backbone(name: str, **options: object) -> "Backbone":
    """Build a backbone with random weights; options left out take the released values.

    Raises ValueError for a name or an option that does not exist.
    """
    backbone = backbone_class(name)
    for option in options:
        if option not in backbone.options:
            raise ValueError(unknown(f"option of {name}", option, backbone.options))
    return backbone(**options)
