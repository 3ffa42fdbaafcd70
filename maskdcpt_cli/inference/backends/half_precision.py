"""Networks with weights and maps in fp16 or bf16, without autocast.

Autocast casts around most operators, and keeps the residual stream in fp32. Without it only
reductions over many values need fp32. LayerNorm's variance, softmax and pooled means are
accumulated in fp32 by PyTorch itself; attention across channels, whose norms over all positions
exceed the range of fp16, is replaced here.
"""

from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from maskdcpt_cli.models.layers import AcrossChannels

Network = TypeVar("Network", bound=nn.Module)

EPS = 1e-12  # of a norm, as in torch.nn.functional.normalize; 0 in fp16


def convert_to_half(network: Network, dtype: torch.dtype) -> Network:
    """Convert the weights of a network to `dtype`, fp16 or bf16, in place."""
    network = network.to(dtype)
    for module in network.modules():
        if (
            isinstance(module, AcrossChannels)
            and type(module).attention is AcrossChannels.attention
        ):
            module.attention = partial(attention_in_fp32, module)  # type: ignore[method-assign]
    return network


def attention_in_fp32(module: AcrossChannels, q: Tensor, k: Tensor) -> Tensor:
    """Return what `module.attention` returns, with norms and softmax in fp32."""
    q, k = _normalised(module.split(q)), _normalised(module.split(k))
    logits: Tensor = (q @ k.transpose(-2, -1)).float() * module.temperature
    return logits.softmax(dim=-1).to(q.dtype)


def _normalised(x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return (x / norm.clamp_min(EPS)).to(x.dtype)
