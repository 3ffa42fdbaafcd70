"""Networks with weights and maps in fp16 or bf16, without autocast.

Autocast casts around most operators, and keeps the residual stream in fp32. Without it only
reductions over many values need fp32. LayerNorm's variance, softmax and pooled means are
accumulated in fp32 by PyTorch itself; channel attention, whose norms over all positions exceed
the range of fp16, is replaced here.
"""

import torch
from torch import Tensor

from maskdcpt_cli.inference.backends.rewriting import replace_modules
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.models.layers import ChannelAttention

EPS = 1e-12  # of a norm, as in torch.nn.functional.normalize; 0 in fp16


class HalfChannelAttention(ChannelAttention):
    """ChannelAttention whose norms and softmax are computed in fp32."""

    def __init__(self, attention: ChannelAttention) -> None:
        torch.nn.Module.__init__(self)
        self.heads = attention.heads
        self.temperature = attention.temperature
        self.qkv, self.qkv_dwconv = attention.qkv, attention.qkv_dwconv
        self.project_out = attention.project_out

    def attention(self, q: Tensor, k: Tensor) -> Tensor:
        q, k = self._normalised(q), self._normalised(k)
        logits: Tensor = (q @ k.transpose(-2, -1)).float() * self.temperature
        return logits.softmax(dim=-1).to(q.dtype)

    def _normalised(self, x: Tensor) -> Tensor:
        x = self.split(x)
        norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        return (x / norm.clamp_min(EPS)).to(x.dtype)


def convert_to_half(network: Backbone, dtype: torch.dtype) -> Backbone:
    """Convert the weights of a network to `dtype`, fp16 or bf16, in place."""
    return replace_modules(network.to(dtype), ChannelAttention, HalfChannelAttention)
