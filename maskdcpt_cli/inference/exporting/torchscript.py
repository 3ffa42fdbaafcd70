"""Exported networks in TorchScript, PyTorch's own form."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from maskdcpt_cli.inference.backends.exported import LQ, METADATA_KEY, ExportedGraph
from maskdcpt_cli.inference.backends.pytorch import LAYOUT, TorchEngine
from maskdcpt_cli.inference.backends.tracing import trace
from maskdcpt_cli.inference.exporting.graph import ExportableNetwork
from maskdcpt_cli.models.layers import lay_out


@contextmanager
def deprecation_hidden() -> Iterator[None]:
    """Hide that TorchScript is deprecated: programs in C++ have no other form of PyTorch's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


class TorchScriptGraph(ExportedGraph):
    """A TorchScript file in PyTorch."""

    backend = TorchEngine.backend
    memory_factor = TorchEngine.memory_factor

    def __init__(self, path: Path) -> None:
        self.files = (path,)
        extra = {METADATA_KEY: ""}
        with deprecation_hidden():
            self._module = torch.jit.load(  # type: ignore[no-untyped-call]  # it has no types
                path, map_location="cpu", _extra_files=extra
            )
        content = extra[METADATA_KEY]
        self.metadata = (content.decode() if isinstance(content, bytes) else content) or None

    @torch.inference_mode()
    def run(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        lq = inputs[LQ].contiguous(memory_format=LAYOUT)
        outputs = self._module(*{**inputs, LQ: lq}.values())
        return [outputs] if isinstance(outputs, Tensor) else list(outputs)


open_graph = TorchScriptGraph


def write(network: ExportableNetwork, path: Path) -> None:
    traced = trace(lay_out(network, LAYOUT), network.example_inputs())
    extra = {METADATA_KEY: network.metadata.model_dump_json()}
    with deprecation_hidden():
        torch.jit.save(traced, path, _extra_files=extra)
