"""PyTorch, eager: every device, nothing to install or compile."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from maskdcpt_cli.inference.backends.engine import (
    Engine,
    PooledValues,
    Residual,
    TileResidual,
)
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.models.restormer import Restormer

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# The CPU runs most networks fastest with weights and activations all in bf16 (NAFNet-64 at 256x256
# 0.55 s, against 0.68 s under autocast; SwinIR at 128x128 2.8 s against 8.4 s), but normalises and
# multiplies channel attention slowly in it (Restormer at 256x256 11.2 s against 3.9 s).
AUTOCAST_ON_CPU = Restormer  # and PromptIR, which is one


class TorchEngine(Engine):
    """Eager PyTorch, channels-last.

    On the CPU channels-last takes two thirds of the time that NAFNet takes as published, in NCHW.
    """

    backend = "torch"
    precisions = ("fp32", "bf16")
    memory_factor = 1.5

    def __init__(self, model: Backbone, *, device: str, precision: str) -> None:
        super().__init__(model, device=device, precision=precision)
        dtype = DTYPES[precision]
        autocast = device != "cpu" or isinstance(model, AUTOCAST_ON_CPU)
        self._dtype = torch.float32 if autocast else dtype
        self._autocast = autocast and precision != "fp32"
        # The caller's network stays as it is.
        self._network = _channels_last(copy.deepcopy(model).to(device, self._dtype).eval())

    @classmethod
    def fast_precision(cls, device: str) -> str:
        """fp16 where a GPU has cores for it; it has ten bits where bf16 has seven."""
        return "fp16" if device.startswith("cuda") else "fp32"

    def residual(self, padded: Tensor) -> Tensor:
        residual: Tensor = self._run(Residual(self._network), padded)
        return residual.to("cpu", torch.float32)

    def pooled_values(self, tiles: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
        values: tuple[Tensor, ...] = self._run(PooledValues(self._network), tiles, boxes)
        return values

    def tile_residual(self, lq: Tensor, boxes: Tensor, values: Sequence[Tensor]) -> Tensor:
        residual: Tensor = self._run(TileResidual(self._network), lq, boxes, *values)
        return residual.to("cpu", torch.float32)

    @torch.inference_mode()
    def _run(self, network: nn.Module, lq: Tensor, *rest: Tensor) -> Any:
        x = lq.to(self.device, self._dtype, memory_format=torch.channels_last)
        dtype, kind = DTYPES[self.precision], torch.device(self.device).type
        with torch.autocast(kind, dtype, enabled=self._autocast):
            return network(x, *(tensor.to(self.device) for tensor in rest))


def _channels_last(model: Backbone) -> Backbone:
    """`model` with its 4-D weights laid out channels-last (`.to` refuses a net with 5-D ones)."""
    for weight in model.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return model
