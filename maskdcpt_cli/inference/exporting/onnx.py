"""Exported networks as ONNX files."""

from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from torch import Tensor

from maskdcpt_cli.inference.backends.exported import (
    BOXES,
    LQ,
    METADATA_KEY,
    RECORDED,
    ExportedGraph,
)
from maskdcpt_cli.inference.backends.onnx import (
    BATCH_OF_IMAGES,
    ONNXEngine,
    export_graph,
    open_session,
)
from maskdcpt_cli.inference.exporting.graph import ExportableNetwork

DYNAMIC_AXES = {
    LQ: BATCH_OF_IMAGES,
    BOXES: {0: "boxes"},
    RECORDED: {0: "images"},
    "restored": BATCH_OF_IMAGES,
}


class ONNXGraph(ExportedGraph):
    """An ONNX file in ONNX Runtime."""

    backend = ONNXEngine.backend
    memory_factor = ONNXEngine.memory_factor

    def __init__(self, path: Path) -> None:
        self.files = (path,)
        self._session = open_session(path.read_bytes())
        self.metadata = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)

    def run(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
        return [torch.from_numpy(output) for output in self._session.run(None, arrays)]


open_graph = ONNXGraph


def write(network: ExportableNetwork, path: Path) -> None:
    metadata = network.metadata
    names = (*metadata.inputs, *metadata.outputs)
    graph = export_graph(
        network,
        network.example_inputs(),
        names=metadata.inputs,
        outputs=metadata.outputs,
        dynamic_axes={name: axes for name, axes in DYNAMIC_AXES.items() if name in names},
    )
    model = onnx.load_from_string(graph)
    onnx.helper.set_model_props(model, {METADATA_KEY: metadata.model_dump_json()})
    path.write_bytes(model.SerializeToString())
