"""Exported networks as OpenVINO files: the graph in .xml, and its weights in .bin beside it."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maskdcpt_cli.inference.backends.exported import (
    BOXES,
    LQ,
    METADATA_KEY,
    RECORDED,
    REQUEST,
    ExportedGraph,
)
from maskdcpt_cli.inference.backends.openvino import (
    CompiledGraphs,
    OpenVINOEngine,
    convert,
    core,
    openvino,
)
from maskdcpt_cli.inference.backends.rewriting import spell_out_norms, split_gates
from maskdcpt_cli.inference.exporting.graph import ExportableNetwork

Shape = tuple[int, ...]


class OpenVINOGraph(ExportedGraph):
    """An OpenVINO file in OpenVINO, compiled for the sizes it meets; see `OpenVINOEngine`."""

    backend = OpenVINOEngine.backend
    memory_factor = OpenVINOEngine.memory_factor

    def __init__(self, path: Path) -> None:
        weights = path.with_suffix(".bin")
        self.files = (weights, path)
        self._graph = core().read_model(path, weights)
        self._compiled = CompiledGraphs[Shape]("fp32", weights=weights.stat().st_size)
        self._met: set[Shape] = set()
        self.metadata = (
            self._graph.get_rt_info(METADATA_KEY).astype(str)
            if self._graph.has_rt_info(METADATA_KEY)
            else None
        )

    def run(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        shape = tuple(inputs[LQ].shape)
        known = shape in self._met or (BOXES in inputs and len(inputs[BOXES]) > 0)
        self._met.add(shape)
        key = shape if known else (shape[0], 3, -1, -1)
        outputs: Any = self._compiled.run(key, self._shaped, inputs.values())
        return [torch.from_numpy(outputs[i]) for i in range(len(outputs))]

    def _shaped(self, shape: Shape) -> Any:
        """Return the graph for images of a shape."""
        self._graph.reshape({LQ: list(shape)})
        return self._graph


open_graph = OpenVINOGraph


def write(network: ExportableNetwork, path: Path) -> None:
    rewritten = spell_out_norms(split_gates(copy.deepcopy(network)))
    graph = convert(rewritten, network.example_inputs())
    metadata = network.metadata
    shapes = {
        LQ: [-1, 3, -1, -1],
        REQUEST: [1, metadata.request_types],
        BOXES: [-1, 4],
        RECORDED: [-1, metadata.pooled],
    }
    for port, name in zip(graph.inputs, metadata.inputs, strict=True):
        port.set_names({name})
    for port, name in zip(graph.outputs, metadata.outputs, strict=True):
        port.set_names({name})
    graph.reshape({name: shapes[name] for name in metadata.inputs})
    graph.set_rt_info(metadata.model_dump_json(), METADATA_KEY)
    openvino.serialize(graph, path, path.with_suffix(".bin"))
