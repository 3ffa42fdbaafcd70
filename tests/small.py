"""Each backbone at a size that a test can afford, in each of its architectures."""

import pytest
import torch

from maskdcpt_cli.models import BACKBONES, Backbone, backbone_class, build_backbone
from tests.golden import fill_with_golden_weights

SMALL: dict[str, dict[str, object]] = {
    "nafnet": {"width": 8, "enc_blk_nums": (1, 1, 1, 2)},
    "restormer": {"dim": 8, "num_blocks": (1, 1, 1, 2), "num_refinement_blocks": 1},
    "promptir": {"dim": 8, "num_blocks": (1, 1, 1, 2), "num_refinement_blocks": 1},
    "swinir": {"embed_dim": 12, "depths": (2, 2, 2, 2), "num_heads": (2, 2, 2, 2)},
}
TWO_BLOCKS: dict[str, dict[str, object]] = {  # to be compiled, which takes seconds a block
    "nafnet": {"enc_blk_nums": (1,), "middle_blk_num": 0, "dec_blk_nums": (1,)},
    "restormer": {"num_blocks": (1, 0, 0, 1), "num_refinement_blocks": 0},
    "promptir": {"num_blocks": (1, 0, 0, 1), "num_refinement_blocks": 0},
    "swinir": {"depths": (2,), "num_heads": (2,)},
}
ARCHITECTURES: dict[str, dict[str, object]] = {  # but the plain ones
    "nafnet-instruct": {"architecture": "instruct", "request_types": 3},
    "restormer-instruct": {"architecture": "instruct", "request_types": 3},
    "restormer-frequency": {"architecture": "frequency"},
    "restormer-moe": {"architecture": "moe"},
}
SHALLOW: dict[str, dict[str, object]] = {  # where golden weights would amplify bf16's rounding
    "nafnet-instruct": {"enc_blk_nums": (1, 1, 1), "dec_blk_nums": (1, 1, 1)},
    "restormer-moe": {"num_blocks": (1, 1, 1, 1)},
}
NETWORKS = sorted([*BACKBONES, *ARCHITECTURES])
IN_SHORT = [  # what takes seconds for each: the architectures by hand
    *BACKBONES,
    *(pytest.param(name, marks=pytest.mark.slow) for name in ARCHITECTURES),
]
assert SMALL.keys() == TWO_BLOCKS.keys() == BACKBONES.keys(), (
    "a new backbone needs a row in SMALL and in TWO_BLOCKS of tests/small.py"
)
assert ARCHITECTURES.keys() == {
    f"{name}-{architecture}"
    for name in BACKBONES
    for architecture in backbone_class(name).architectures
    if architecture != "plain"
}, "a new architecture needs a form for the tests"


def small(name: str, **options: object) -> Backbone:
    """A small backbone with the golden weights, so that no layer is idle."""
    backbone = build_backbone(backbone_of(name), **{**small_options(name), **options})
    fill_with_golden_weights(backbone)
    return backbone


def backbone_of(name: str) -> str:
    """The backbone of one of the NETWORKS."""
    return name.partition("-")[0]


def small_options(name: str) -> dict[str, object]:
    """The options of a small one of the NETWORKS."""
    return {
        **SMALL[backbone_of(name)],
        **ARCHITECTURES.get(name, {}),
        **SHALLOW.get(name, {}),
    }


def two_blocks(name: str) -> dict[str, object]:
    """The options of one of the NETWORKS with as few blocks as possible."""
    return TWO_BLOCKS[backbone_of(name)]


def calm(name: str, **options: object) -> Backbone:
    """A small backbone whose residual is about as large as that of a trained one."""
    model = small(name, **options)
    lq = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    last = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d)][-1]
    with torch.inference_mode():
        scale = 0.1 / (model(lq) - lq).std()
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.mul_(scale.clone())
    return model
