"""ONNX Runtime on the CPU, the extra `onnx`."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx  # noqa: F401  the exporter needs it, and would name itself rather than what to install
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskdcpt_cli.inference.backends.engine import (
    BackboneEngine,
    PooledValues,
    Residual,
    TileResidual,
)
from maskdcpt_cli.models import Backbone

OPSET = 17  # the first with LayerNormalization
BATCH_OF_IMAGES = {0: "batch", 2: "height", 3: "width"}  # names of the sizes that may vary


class ONNXEngine(BackboneEngine):
    """The network exported in memory, for any number of images of any size."""

    backend = "onnx"
    precisions = ("fp32",)
    memory_factor = 3.4

    def __init__(self, model: Backbone, *, device: str, precision: str) -> None:
        super().__init__(model, device=device, precision=precision)
        self._sessions: dict[type[nn.Module], onnxruntime.InferenceSession] = {}

    def residual(self, padded: Tensor, *request: Tensor) -> Tensor:
        return torch.from_numpy(self._run(Residual, padded, *request)[0])

    def pooled_values(
        self, tiles: Tensor, boxes: Tensor, *request: Tensor
    ) -> list[NDArray[np.float32]]:
        return self._run(PooledValues, tiles, boxes, *request)

    def tile_residual(
        self, lq: Tensor, boxes: Tensor, values: Sequence[NDArray[np.float32]], *request: Tensor
    ) -> Tensor:
        return torch.from_numpy(self._run(TileResidual, lq, boxes, *request, *values)[0])

    def _run(self, network: type[nn.Module], *inputs: Tensor | NDArray[Any]) -> list[Any]:
        session = self._session(network)
        arrays = {name(i): np.asarray(x) for i, x in enumerate(inputs)}
        outputs: list[Any] = session.run(
            None, {used.name: arrays[used.name] for used in session.get_inputs()}
        )
        return outputs

    def _session(self, network: type[nn.Module]) -> onnxruntime.InferenceSession:
        if network not in self._sessions:
            inputs = self.example_inputs(network)
            names = [name(i) for i in range(len(inputs))]
            axes = {names[0]: BATCH_OF_IMAGES} | (
                {} if network is Residual else {names[1]: {0: "batch"}}
            )
            graph = export_graph(network(self.model), inputs, names=names, dynamic_axes=axes)
            self._sessions[network] = open_session(graph)
        return self._sessions[network]


def name(i: int) -> str:
    """Return the name of input i of an exported network."""
    return f"input{i}"


def open_session(graph: bytes) -> onnxruntime.InferenceSession:
    """Return the session that runs an ONNX file on the CPU."""
    options = onnxruntime.SessionOptions()
    # Without it the largest tile's memory is kept until the end.
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def export_graph(
    network: nn.Module,
    inputs: tuple[Tensor, ...],
    *,
    names: Sequence[str],
    dynamic_axes: Mapping[str, Mapping[int, str]],
    outputs: Sequence[str] | None = None,
) -> bytes:
    """Return the network as an ONNX file, for tiles of any number and size.

    By tracing: torch.export takes 11 to 23 s for what tracing does in half a second.
    """
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing's deprecation, and of sizes it takes as fixed
        file = Path(folder, "network.onnx")
        torch.onnx.export(
            network.eval(),
            inputs,
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=names,
            output_names=outputs,
            dynamic_axes=dynamic_axes,
        )
        return file.read_bytes()
