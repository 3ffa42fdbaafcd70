"""Networks: tensors in, tensors out; no disk, no configuration, no logging."""

from maskdcpt_cli.errors import unknown
from maskdcpt_cli.models.backbone import Backbone, Encoded
from maskdcpt_cli.models.nafnet import NAFNet
from maskdcpt_cli.models.promptir import PromptIR
from maskdcpt_cli.models.restormer import Restormer
from maskdcpt_cli.models.swinir import SwinIR

__all__ = ["BACKBONES", "Backbone", "Encoded", "build_backbone"]

BACKBONES: dict[str, type[Backbone]] = {
    "nafnet": NAFNet,
    "restormer": Restormer,
    "promptir": PromptIR,
    "swinir": SwinIR,
}


def build_backbone(name: str, **options: object) -> Backbone:
    """Build a backbone with random weights; options left out take the released values.

    Raises ValueError for a name or an option that does not exist.
    """
    if name not in BACKBONES:
        raise ValueError(unknown("backbone", name, BACKBONES))
    backbone = BACKBONES[name]
    for option in options:
        if option not in backbone.options:
            raise ValueError(unknown(f"option of {name}", option, backbone.options))
    return backbone(**options)
