"""Networks: tensors in, tensors out; no disk, no configuration, no logging.

The names of the backbones are known without importing torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from maskdcpt_cli.errors import unknown
from maskdcpt_cli.plugins import Registry

if TYPE_CHECKING:
    from maskdcpt_cli.models.backbone import Backbone, Encoded

__all__ = ["BACKBONES", "Backbone", "Encoded", "backbone_class", "build_backbone"]

BACKBONES: "Registry[type[Backbone]]" = Registry(  # a subclass before its base
    "BACKBONES",
    {
        "nafnet": "maskdcpt_cli.models.nafnet:NAFNet",
        "promptir": "maskdcpt_cli.models.promptir:PromptIR",
        "restormer": "maskdcpt_cli.models.restormer:Restormer",
        "swinir": "maskdcpt_cli.models.swinir:SwinIR",
    },
)


def __getattr__(name: str) -> object:
    if name not in ("Backbone", "Encoded"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.backbone"), name)


def backbone_class(name: str) -> "type[Backbone]":
    """Return the class of a backbone; ValueError for a name that does not exist."""
    if name not in BACKBONES:
        raise ValueError(unknown("backbone", name, BACKBONES))
    return BACKBONES[name]


def build_backbone(name: str, **options: object) -> "Backbone":
    """Build a backbone with random weights; options left out take the released values.

    Raises ValueError for a name or an option that does not exist.
    """
    backbone = backbone_class(name)
    for option in options:
        if option not in backbone.options:
            raise ValueError(unknown(f"option of {name}", option, backbone.options))
    return backbone(**options)
