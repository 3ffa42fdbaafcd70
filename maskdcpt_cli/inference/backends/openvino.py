"""OpenVINO, the extra `openvino`, on the CPU."""

import copy
import sys
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskdcpt_cli.inference.backends.engine import (
    BackboneEngine,
    PooledValues,
    Residual,
    TileResidual,
)
from maskdcpt_cli.inference.backends.rewriting import spell_out_norms, split_gates
from maskdcpt_cli.inference.backends.tracing import trace
from maskdcpt_cli.models import Backbone

# `import openvino` tells Google Analytics that it was imported, unless this package is missing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
openvino = import_module("openvino")
frontends = import_module("openvino.frontend")
decoders = import_module("openvino.frontend.pytorch.ts_decoder")

K = TypeVar("K", bound=Hashable)
Key = tuple[type[nn.Module], tuple[int, ...]]  # a network, and the shape it is compiled for

HINTS = {"fp32": "f32", "bf16": "bf16"}
ANY_SIZE = (-1, -1)
# Every compiled graph holds a copy of the weights; so many bytes of them are kept, two graphs at
# least: of a small network one for each size that a mixed folder has.
WEIGHTS_KEPT = 250_000_000


class OpenVINOEngine(BackboneEngine):
    """The network converted in memory and compiled for the sizes it meets.

    A graph compiled for one size runs up to twice as fast as one for any size, but compiling takes
    as long as restoring a megapixel or two; so the size of a photo gets its own when it comes a
    second time, and that of tiles at once.
    """

    backend = "openvino"
    precisions = ("fp32", "bf16")
    memory_factor = 1.8

    def __init__(self, model: Backbone, *, device: str, precision: str) -> None:
        super().__init__(model, device=device, precision=precision)
        self._network = split_gates(copy.deepcopy(model))
        if precision == "fp32":
            self._network = spell_out_norms(self._network)
        self._graphs: dict[type[nn.Module], Any] = {}
        weights = sum(4 * parameter.numel() for parameter in model.parameters())
        self._compiled = CompiledGraphs[Key](precision, weights=weights)
        self._met: set[tuple[int, int]] = set()

    def residual(self, padded: Tensor, *request: Tensor) -> Tensor:
        size = (padded.shape[-2], padded.shape[-1])
        shape = (1, 3, *(size if size in self._met else ANY_SIZE))
        self._met.add(size)
        outputs = (self._run(Residual, shape, one[None], *request) for one in padded)
        return torch.cat([torch.from_numpy(output[0]) for output in outputs])

    def pooled_values(self, tiles: Tensor, boxes: Tensor, *request: Tensor) -> list[NDArray[Any]]:
        outputs = self._run(PooledValues, tuple(tiles.shape), tiles, boxes, *request)
        return list(outputs.values())

    def tile_residual(
        self, lq: Tensor, boxes: Tensor, values: Sequence[NDArray[Any]], *request: Tensor
    ) -> Tensor:
        outputs = self._run(TileResidual, tuple(lq.shape), lq, boxes, *request, *values)
        return torch.from_numpy(outputs[0])

    def _run(
        self, network: type[nn.Module], shape: tuple[int, ...], *inputs: Tensor | NDArray[Any]
    ) -> Any:
        """Return the outputs of a graph that is compiled for a first input of this shape."""
        return self._compiled.run((network, shape), self._shaped, inputs)

    def _shaped(self, key: Key) -> Any:
        """Return a graph, reshaped for a first input of a shape."""
        network, shape = key
        graph = self._graph(network)
        first, *others = graph.inputs
        shapes = [shape, *(x.partial_shape for x in others)]
        if network is not Residual:
            shapes[1] = [shape[0], 4]
        graph.reshape(dict(zip([first, *others], shapes, strict=True)))
        return graph

    def _graph(self, network: type[nn.Module]) -> Any:
        if network not in self._graphs:
            inputs = self.example_inputs(network)
            self._graphs[network] = convert(network(self._network), inputs)
        return self._graphs[network]


class CompiledGraphs(Generic[K]):
    """Graphs compiled for the shapes of their inputs, those used last."""

    def __init__(self, precision: str, *, weights: int) -> None:
        """Keep as many as WEIGHTS_KEPT allows, of graphs with so many bytes of weights."""
        self._config = {"INFERENCE_PRECISION_HINT": HINTS[precision]}
        self._kept = max(2, WEIGHTS_KEPT // weights)
        self._compiled: dict[K, Any] = {}  # the one used last comes last
        self._latest: Any = None

    def run(
        self, key: K, graph: Callable[[K], Any], inputs: Iterable[Tensor | NDArray[Any]]
    ) -> Any:
        """Return the outputs of the graph of a key, compiled where it is not kept."""
        compiled = self._compiled.pop(key, None)
        if compiled is None:
            if len(self._compiled) == self._kept:
                self._compiled.pop(next(iter(self._compiled)))
            compiled = core().compile_model(graph(key), "CPU", self._config)
        self._compiled[key] = compiled
        if compiled is not self._latest:
            if self._latest:
                self._latest.release_memory()  # or each graph would keep its activations
            self._latest = compiled
        return compiled([np.asarray(x) for x in inputs])


@cache
def core() -> Any:
    """Return the `openvino.Core` of this process.

    Never freed: it lends the main thread a stack for signals. Of two that are freed in the order
    of their making, the second gives back the stack of the first, and the next signal (Ctrl-C, or
    the end of a child process) would end the process with a segmentation fault.
    """
    return openvino.Core()


def convert(network: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    """Return the network as an OpenVINO graph, without a file in between.

    The public `openvino.convert_model` traces twice more to compare, and reports its use.
    """
    frontend = frontends.FrontEndManager().load_by_framework("pytorch")
    decoder = decoders.TorchScriptPythonDecoder(
        trace(network, inputs)
    )  # the graph below borrows from it
    return frontend.convert(frontend.load(decoder))
