"""Rewritten networks: another form, the same pixels."""

import copy
from collections.abc import Callable

import pytest
import torch

from maskdcpt_cli.inference.backends.rewriting import fold_scales, spell_out_norms, split_gates
from maskdcpt_cli.models import Backbone
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
