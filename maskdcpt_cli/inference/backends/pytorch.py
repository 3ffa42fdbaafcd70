"""PyTorch: every device, nothing to install."""

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from maskdcpt_cli.inference.backends.compiling import (
    CompiledWhereOften,
    Run,
    compile_by_pytorch,
)
from maskdcpt_cli.inference.backends.engine import (
    BackboneEngine,
    PooledValues,
    Residual,
    TileResidual,
)
from maskdcpt_cli.inference.backends.fp32 import tf32
from maskdcpt_cli.inference.backends.half_precision import convert_to_half
from maskdcpt_cli.inference.backends.rewriting import fold_scales
from maskdcpt_cli.inference.backends.transfer import transfer_to
from maskdcpt_cli.inference.out_of_memory import moved
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.models.layers import lay_out
from maskdcpt_cli.models.restormer import Restormer

DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}

# The CPU runs most networks fastest with weights and activations all in bf16 (NAFNet-64 at 256x256
# 0.55 s, against 0.68 s under autocast; SwinIR at 128x128 2.8 s against 8.4 s), but normalises and
# multiplies channel attention slowly in it (Restormer at 256x256 11.2 s against 3.9 s).
AUTOCAST_ON_CPU = Restormer  # and PromptIR, which is one

# Measured, as the time in channels-last over that in NCHW:
#   cpu, fp32   NAFNet 0.68 to 0.83 (256x256), Restormer 0.36 to 0.93, PromptIR 0.93 to 0.94
#               (128x128), two runs on a busy machine; SwinIR 1.0 (64x64), one run
#   cuda        NAFNet 0.94 (fp32 with TF32, copies included, 1024x1024, H200); others not measured
#   mps         not measured
LAYOUT = torch.channels_last  # of weights and activations


HALF_CAPABILITY = (7, 0)  # of CUDA devices that compute fast in fp16


class TorchEngine(BackboneEngine):
    """PyTorch, eager; on CUDA weights in half precision, and compiled for sizes that come often."""

    backend = "torch"
    precisions = ("fp32", "bf16")
    memory_factor = 1.5
    # Pixels of one size on CUDA after which it is compiled. Never until `python -m benchmarks.gpu`,
    # which sets it, has shown that it pays: pixels would differ from those before by 1 of 255.
    compile_after: int | None = None

    def __init__(self, model: Backbone, *, device: str, precision: str) -> None:
        super().__init__(model, device=device, precision=precision)
        self._kind = torch.device(device).type
        half = DTYPES[precision] != torch.float32
        self._autocast = half and (
            self._kind == "mps" or (self._kind == "cpu" and isinstance(model, AUTOCAST_ON_CPU))
        )
        self._dtype = torch.float32 if self._autocast else DTYPES[precision]
        # The caller's network stays as it is.
        network = moved(copy.deepcopy(model), device).eval()
        if self._kind == "cpu":  # on other devices not measured; in fp16 small products underflow
            network = fold_scales(network)
        if self._dtype != torch.float32:
            network = convert_to_half(network, self._dtype)
        self._network = lay_out(network, LAYOUT)
        self._compiler = compile_by_pytorch if self._kind == "cuda" else None

    @classmethod
    def fast_precision(cls, device: str) -> str:
        """fp16 where a GPU has cores for it; it has ten bits where bf16 has seven."""
        if not device.startswith("cuda"):
            return "fp32"
        return "fp16" if torch.cuda.get_device_capability(device) >= HALF_CAPABILITY else "fp32"

    def residual(self, padded: Tensor, *request: Tensor) -> Tensor:
        residual: Tensor = self._run(self._residual, padded, *request)
        return residual.to(padded.device, torch.float32)

    def pooled_values(self, tiles: Tensor, boxes: Tensor, *request: Tensor) -> tuple[Tensor, ...]:
        network = PooledValues(self._network)
        values: tuple[Tensor, ...] = self._run(network, tiles, boxes, *request)
        return values

    def tile_residual(
        self, lq: Tensor, boxes: Tensor, values: Sequence[Tensor], *request: Tensor
    ) -> Tensor:
        residual: Tensor = self._run(self._tile_residual, lq, boxes, *request, *values)
        return residual.to(lq.device, torch.float32)

    @cached_property
    def _residual(self) -> Run:
        return self._compiled_where_often(Residual(self._network))

    @cached_property
    def _tile_residual(self) -> Run:
        return self._compiled_where_often(TileResidual(self._network))

    def _compiled_where_often(self, network: nn.Module) -> Run:
        after = self.compile_after
        if self._compiler is None or after is None:
            return network
        return CompiledWhereOften(network, self._compiler, after=after, notices=self.notices)

    @torch.inference_mode()
    def _run(self, network: Run, lq: Tensor, *rest: Tensor) -> Any:
        x = lq.to(self.device, self._dtype, memory_format=LAYOUT)
        with self._arithmetic():
            return network(x, *map(self._there, rest))

    def _there(self, tensor: Tensor) -> Tensor:
        """Return a tensor on the device, without waiting for the work queued there."""
        if tensor.device.type == self._kind:
            return tensor
        return transfer_to(self.device).upload(tensor.numpy())

    def _arithmetic(self) -> AbstractContextManager[object]:
        if self._autocast:
            return torch.autocast(self._kind, DTYPES[self.precision])
        if self._kind == "cuda":
            return tf32(allowed=self.precision == "tf32")
        return nullcontext()
