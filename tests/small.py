"""Each backbone at a size that a test can afford."""

import torch

from maskdcpt_cli.models import BACKBONES, Backbone, build_backbone
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
assert SMALL.keys() == TWO_BLOCKS.keys() == BACKBONES.keys(), (
    "a new backbone needs a row in SMALL and in TWO_BLOCKS of tests/small.py"
)


def small(name: str, **options: object) -> Backbone:
    """A small backbone with the golden weights, so that no layer is idle."""
    backbone = build_backbone(name, **{**SMALL[name], **options})
    fill_with_golden_weights(backbone)
    return backbone


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
