"""OpenVINO, the extra `openvino`: the fastest way on most CPUs."""

import copy
import sys
import warnings
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from maskdcpt_cli.inference.backends.engine import Engine, Residual
from maskdcpt_cli.inference.backends.rewriting import spell_out_norms, split_gates
from maskdcpt_cli.models import Backbone

# `import openvino` tells Google Analytics that it was imported, unless this package is missing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
openvino = import_module("openvino")
frontends = import_module("openvino.frontend")
decoders = import_module("openvino.frontend.pytorch.ts_decoder")

HINTS = {"fp32": "f32", "bf16": "bf16"}
ANY_SIZE = (-1, -1)
# Every compiled graph holds a copy of the weights; so many bytes of them are kept, two graphs at
# least: of a small network one for each size that a mixed folder has.
WEIGHTS_KEPT = 250_000_000


class OpenVINOEngine(Engine):
    """The network converted in memory and compiled for the sizes it meets.

    A graph compiled for one size runs up to twice as fast as one for any size, but compiling takes
    as long as restoring a megapixel or two; so a size gets its own when it comes a second time.
    """

    backend = "openvino"
    precisions = ("fp32", "bf16")
    memory_factor = 1.8

    def __init__(self, model: Backbone, *, device: str, precision: str) -> None:
        super().__init__(model, device=device, precision=precision)
        self._core = openvino.Core()
        network = split_gates(Residual(copy.deepcopy(model)))
        if precision == "fp32":
            network = spell_out_norms(network)
        self._graph = _convert(network, side=8 * model.size_multiple)
        weights = sum(4 * parameter.numel() for parameter in model.parameters())
        self._graphs_kept = max(2, WEIGHTS_KEPT // weights)
        self._compiled: dict[tuple[int, int], Any] = {}  # the one used last comes last
        self._latest: Any = None
        self._met: set[tuple[int, int]] = set()

    def residual(self, padded: Tensor) -> Tensor:
        height, width = padded.shape[-2:]
        size = (height, width) if (height, width) in self._met else ANY_SIZE
        self._met.add((height, width))
        compiled = self._compiled.pop(size, None) or self._compile(size)
        self._compiled[size] = compiled
        if compiled is not self._latest:
            if self._latest:
                self._latest.release_memory()  # or each graph would keep its activations
            self._latest = compiled
        return torch.cat([torch.from_numpy(compiled([one[None].numpy()])[0]) for one in padded])

    def _compile(self, size: tuple[int, int]) -> Any:
        if len(self._compiled) == self._graphs_kept:
            self._compiled.pop(next(iter(self._compiled)))
        self._graph.reshape([1, 3, *size])
        return self._core.compile_model(
            self._graph, "CPU", {"INFERENCE_PRECISION_HINT": HINTS[self.precision]}
        )


def _convert(network: nn.Module, *, side: int) -> Any:
    """The network as an OpenVINO graph, without a file in between.

    The public `openvino.convert_model` traces twice more to compare, and reports its use.
    """
    example = torch.zeros(1, 3, side, side)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated; the frontend reads no other form
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            network, example, check_trace=False
        )
    frontend = frontends.FrontEndManager().load_by_framework("pytorch")
    decoder = decoders.TorchScriptPythonDecoder(traced)  # the graph below borrows from it
    return frontend.convert(frontend.load(decoder))
