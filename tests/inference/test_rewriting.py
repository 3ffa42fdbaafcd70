"""Rewritten networks: another form, the same pixels."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from maskdcpt_cli.inference.backends.rewriting import fold_scales, spell_out_norms, split_gates
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.models.nafnet import NAFBlock
from tests.small import calm


@pytest.mark.parametrize("rewrite", [fold_scales, split_gates, spell_out_norms])
@pytest.mark.parametrize("name", ["nafnet", "nafnet-instruct"])
def test_a_rewritten_network_restores_as_before(
    rewrite: Callable[[Backbone], Backbone], name: str
) -> None:
    network = calm(name).eval()
    rewritten = rewrite(copy.deepcopy(network))
    assert str(rewritten) != str(network)
    lq = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(rewritten(lq), network(lq), atol=1e-6, rtol=1e-5)


class Doubled(NAFBlock):
    """A block of a plugin, with the tensors of NAFNet's."""

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        return 2 * super().forward(x, *args)


@pytest.mark.parametrize("rewrite", [fold_scales, split_gates])
def test_blocks_that_do_something_else_stay(
    rewrite: Callable[[nn.Sequential], nn.Sequential],
) -> None:
    network = nn.Sequential(Doubled(4, eps=1e-5), NAFBlock(4, eps=1e-5))
    kept, rewritten = rewrite(copy.deepcopy(network))
    assert type(kept) is Doubled
    assert type(rewritten) is not NAFBlock
