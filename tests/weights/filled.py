"""Small networks of each backbone and architecture, and checkpoints of them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from maskdcpt_cli.models import BACKBONES, backbone_class, build_backbone
from maskdcpt_cli.weights.checkpoint import Checkpoint
from tests.golden import fill_with_golden_weights
from tests.small import backbone_of, small

OPTIONS: dict[str, dict[str, Any]] = {
    "nafnet": {
        "width": 4,
        "enc_blk_nums": (1, 2),
        "middle_blk_num": 3,
        "dec_blk_nums": (2, 1),
        "unshuffle": 2,
    },
    "restormer": {
        "dim": 8,
        "num_blocks": (1, 2, 1, 3),
        "num_refinement_blocks": 2,
        "heads": (1, 2, 4, 8),
        "ffn_expansion_factor": 2.5,
        "norm": "with-bias",
    },
    "promptir": {
        "dim": 8,
        "num_blocks": (2, 1, 1, 1),
        "num_refinement_blocks": 1,
        "heads": (2, 2, 2, 4),
        "ffn_expansion_factor": 1.25,
        "bias": True,
    },
    "swinir": {
        "embed_dim": 60,
        "depths": (1, 2, 1),
        "num_heads": (2, 2, 2),
        "mlp_ratio": 1.5,
        "window_size": 8,
        "attention": "plain",
    },
}
PLAIN = {"architecture": "plain", "request_types": 0}
OPTIONS["nafnet-instruct"] = OPTIONS["nafnet"] | {"architecture": "instruct", "request_types": 3}
for architecture, types in {"instruct": 3, "frequency": 0, "moe": 0}.items():
    form = {"architecture": architecture, "request_types": types}
    OPTIONS[f"restormer-{architecture}"] = OPTIONS["restormer"] | form
OPTIONS["nafnet"] |= PLAIN
OPTIONS["restormer"] |= PLAIN
for new in BACKBONES.keys() - OPTIONS.keys():
    OPTIONS[new] = {option: getattr(small(new), option) for option in backbone_class(new).options}


def filled(name: str) -> Checkpoint:
    """A checkpoint of a network with the OPTIONS of this name."""
    backbone = backbone_of(name)
    model = build_backbone(backbone, **OPTIONS[name])
    fill_with_golden_weights(model)
    return Checkpoint(backbone, OPTIONS[name], model.state_dict())


def on_meta(backbone: str, options: Mapping[str, object]) -> dict[str, Tensor]:
    with torch.device("meta"):
        return build_backbone(backbone, **options).state_dict()


NAFNET = {key: torch.zeros(v.shape) for key, v in on_meta("nafnet", OPTIONS["nafnet"]).items()}
