"""Exported networks: files that hold a network as a graph, run as they are."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator
from torch import Tensor

from maskdcpt_cli.inference.backends.engine import Engine, Network, RestoreTile
from maskdcpt_cli.models.backbone import RestorationNetwork
from maskdcpt_cli.weights.metadata import Label

METADATA_KEY = "maskdcpt"  # of the metadata in a file
LQ, REQUEST, BOXES, RECORDED = INPUTS = ("lq", "request", "boxes", "recorded")
OUTPUTS = ("restored", "pooled")


class ExportMetadata(BaseModel):
    """What a file says of its network beside the graph."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = 1
    version: str  # of the maskdcpt that wrote the file
    backbone: Annotated[str, Field(pattern=r"^[\w+-]{1,40}$")]
    size_multiple: Annotated[int, Field(ge=1, le=4096)]
    padding: Annotated[str, Field(pattern=r"^(reflect|zeros)$")]  # a key of PADDINGS
    request_types: Annotated[int, Field(ge=0, le=1000)] = 0
    requests: tuple[Label, ...] = ()
    pooled: Annotated[int, Field(ge=0)] = 0  # how many values it pools; 0: it has no global pooling
    bytes_per_pixel: Annotated[FiniteFloat, Field(gt=0)]  # see Engine

    @model_validator(mode="after")
    def _names_all_requests(self) -> "ExportMetadata":
        if self.requests and len(self.requests) != self.request_types:
            raise ValueError("each type that the network can be asked for has a name, or none has")
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the names of the inputs of the graph, in their order."""
        request = (REQUEST,) if self.request_types else ()
        return (LQ, *request, *((BOXES, RECORDED) if self.pooled else ()))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the outputs of the graph, in their order."""
        return OUTPUTS if self.pooled else OUTPUTS[:1]


class ExportedGraph(ABC):
    """The graph of a file in the library that runs it, on the CPU in fp32."""

    backend: ClassVar[str]
    memory_factor: ClassVar[float]  # see Engine
    files: tuple[Path, ...]  # that hold it
    metadata: str | None  # JSON of ExportMetadata; None in a file of another program

    @abstractmethod
    def run(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the outputs for inputs by their names, which are those of the metadata."""


class ExportedNetwork(RestorationNetwork):
    """A network in a file that `export_model` wrote; `open_engine` prepares it."""

    def __init__(self, graph: ExportedGraph, metadata: ExportMetadata) -> None:
        self.graph = graph
        self.metadata = metadata
        self.size_multiple = metadata.size_multiple
        self.padding = metadata.padding
        self.request_types = metadata.request_types
        self.requests = metadata.requests

    def weight_items(self) -> Iterable[tuple[str, Tensor]]:
        for path in self.graph.files:
            digest = hashlib.sha256(path.read_bytes()).digest()
            yield path.suffix, torch.tensor(list(digest), dtype=torch.uint8)


class ExportedEngine(Engine):
    """An exported network on the CPU, in fp32."""

    model: ExportedNetwork

    def __init__(self, model: ExportedNetwork) -> None:
        super().__init__(model, device="cpu", precision="fp32")
        self.backend = model.graph.backend
        self.memory_factor = model.graph.memory_factor

    @property
    def bytes_per_pixel(self) -> float:
        return self.model.metadata.bytes_per_pixel

    def network(self, *request: Tensor) -> Network:
        return _FileWithRequest(self.model, request)


class _FileWithRequest:
    """An exported network with its request: one tensor, or none if it takes none."""

    def __init__(self, network: ExportedNetwork, request: tuple[Tensor, ...]) -> None:
        self.graph = network.graph
        self.inputs = network.metadata.inputs
        self.request = request
        self.nothing = torch.zeros(0, 4), torch.zeros(0, network.metadata.pooled)

    def __call__(self, lq: Tensor) -> Tensor:
        return torch.cat([self._run(image, *self.nothing)[0] for image in torch.split(lq, 1)])

    def record(self, tiles: Tensor, boxes: Tensor) -> RestoreTile:
        if BOXES not in self.inputs:
            return lambda lq, _box: self(lq)
        pooled = self._run(tiles, boxes, self.nothing[1])[1]
        return lambda lq, box: self._run(lq, box, pooled)[0]

    def _run(self, lq: Tensor, boxes: Tensor, recorded: Tensor) -> list[Tensor]:
        request = self.request[0] if self.request else torch.zeros(0)
        given = dict(zip(INPUTS, (lq, request, boxes, recorded), strict=True))
        return self.graph.run({name: given[name] for name in self.inputs})
