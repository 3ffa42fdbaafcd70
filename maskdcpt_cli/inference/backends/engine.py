"""The common part of all inference backends."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from maskdcpt_cli.inference.backends.memory import activation_bytes
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.models.backbone import PADDINGS, RestorationNetwork
from maskdcpt_cli.models.pooling import JointPool, RecordedPool

MEASURED_TILE = 128
CONTEXT = 4  # a quarter of a sample tile's sides is there for its inner half

RestoreTile = Callable[[Tensor, Tensor], Tensor]  # (1, 3, h, w) and its box -> restored


class Residual(nn.Module):
    """The residual of a network. It is added outside, in fp32: lq must not lose bits."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, lq: Tensor, request: Tensor | None = None) -> Tensor:
        return self.backbone.residual(lq, request=request)


class PooledValues(nn.Module):
    """The globally pooled values of an image that is given as a batch of tiles."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(
        self, tiles: Tensor, boxes: Tensor, request: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        pool = JointPool(boxes, context=CONTEXT)
        self.backbone.encode(tiles, pool=pool, request=request)
        return tuple(pool.values)


class TileResidual(nn.Module):
    """The residual of tiles of an image whose pooled values were recorded.

    Takes the request before the values, if the network is request-conditioned.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, lq: Tensor, boxes: Tensor, *given: Tensor) -> Tensor:
        request, values = (given[0], given[1:]) if self.backbone.request_types else (None, given)
        pool = RecordedPool(boxes, values)
        return self.backbone.residual(lq, pool, request)


class Network(Protocol):
    """The callable interface of `Engine`."""

    def __call__(self, lq: Tensor, /) -> Tensor: ...

    def record(self, tiles: Tensor, boxes: Tensor, /) -> RestoreTile: ...


class Engine(ABC):
    """A network prepared on one device: (B, 3, h, w) in [0, 1] of any size -> restored.

    Takes float32 on the CPU or on its device, and returns it there; the result is not clipped.
    A request-conditioned one removes everything, unless `with_request` says otherwise.
    """

    backend: str
    memory_factor: float  # peak memory measured on the CPU, over the live activations

    def __init__(self, model: RestorationNetwork, *, device: str, precision: str) -> None:
        self.model = model
        self.device = device
        self.precision = precision
        self.size_multiple = model.size_multiple
        self.pad = PADDINGS[model.padding]
        self.notices: list[str] = []  # messages for the user, a sentence each, until they are shown

    def __call__(self, lq: Tensor) -> Tensor:
        return self.with_request(None)(lq)

    def record(self, tiles: Tensor, boxes: Tensor) -> RestoreTile:
        """Pool over tiles (N, 3, h, w) that sample an image, and keep the values.

        `boxes` (N, 4) holds top, left, height and width of each tile as fractions of the image;
        heights and widths of tiles are multiples of `size_multiple`. Returns a function that
        restores tiles of that image with these values: (1, 3, h, w), boxes (1, 4) -> restored.
        """
        return self.with_request(None).record(tiles, boxes)

    def with_request(self, request: Tensor | None) -> Network:
        """Return the network that removes what a request asks for.

        Args:
            request: (1, types), 1 for each type in the order of `Backbone.requests` that is to be
                removed, 0 for the others. None asks for everything, and suits every network.

        Raises:
            ValueError: The request does not fit the network.
        """
        types = self.model.request_types
        if request is None:
            return self.network(torch.ones(1, types)) if types else self.network()
        self.model.check_request(request)
        if len(request) != 1:
            raise ValueError(
                f"An engine takes one request for all images, (1, {types}), "
                f"and this one is {tuple(request.shape)}."
            )
        return self.network(request.to("cpu", torch.float32))

    @abstractmethod
    def network(self, *request: Tensor) -> Network:
        """Return the network with a request (1, types), or with none if it takes none."""

    def describe(self) -> str:
        return f"{self.backend} on {self.device}, {self.precision}"

    def in_fp32(self) -> "Engine":
        """Return the same network in full precision, for inputs whose output fails its check."""
        return self

    @property
    @abstractmethod
    def bytes_per_pixel(self) -> float:
        """The live activations of a pass, in fp32."""

    def peak_bytes(self, tile: int) -> int:
        """Return the bytes that a pass over tile x tile pixels needs on top of the weights."""
        return round(self.memory_factor * self.bytes_per_pixel * tile**2)


class BackboneEngine(Engine):
    """A backbone with its weights, prepared on one device."""

    model: Backbone
    precisions: ClassVar[tuple[str, ...]]  # on the CPU

    def __init__(self, model: Backbone, *, device: str, precision: str) -> None:
        super().__init__(model, device=device, precision=precision)

    @classmethod
    def fast_precision(cls, device: str) -> str:  # noqa: ARG003  for subclasses
        """Return the precision that `auto` stands for on a device."""
        return "fp32"

    def network(self, *request: Tensor) -> Network:
        return _WithRequest(self, request)

    @abstractmethod
    def residual(self, padded: Tensor, *request: Tensor) -> Tensor:
        """Return the residual of lq, whose height and width are multiples of size_multiple.

        It is fp32, on the device of lq. A request-conditioned network takes a `request` (1, types);
        the others take none, here and below.
        """

    @abstractmethod
    def pooled_values(self, tiles: Tensor, boxes: Tensor, *request: Tensor) -> Sequence[Any]:
        """See `PooledValues`; in a form that `tile_residual` takes."""

    @abstractmethod
    def tile_residual(
        self, lq: Tensor, boxes: Tensor, values: Sequence[Any], *request: Tensor
    ) -> Tensor:
        """See `TileResidual`."""

    def in_fp32(self) -> "Engine":
        """Return the same network in full precision, for inputs whose output fails its check."""
        return self if self.precision == "fp32" else self._in_fp32

    @cached_property
    def bytes_per_pixel(self) -> float:
        return activation_bytes(Residual(self.model), MEASURED_TILE) / MEASURED_TILE**2

    @cached_property
    def _in_fp32(self) -> "Engine":
        return type(self)(self.model, device=self.device, precision="fp32")

    @cached_property
    def pooled_shapes(self) -> tuple[torch.Size, ...]:
        """The shapes of what the network pools, which no size of image changes."""
        device = next(self.model.parameters()).device
        inputs = (x.to(device) for x in self.example_inputs(PooledValues))
        with torch.no_grad():
            return tuple(value.shape for value in PooledValues(self.model)(*inputs))

    def example_inputs(self, network: type[nn.Module]) -> tuple[Tensor, ...]:
        """Return inputs to trace one of the three networks above with."""
        side = 2 * self.size_multiple
        tile = torch.zeros(1, 3, side, side)
        boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        types = self.model.request_types
        request = (torch.ones(1, types),) if types else ()
        if network is Residual:
            return tile, *request
        if network is PooledValues:
            return tile.repeat(2, 1, 1, 1), boxes.repeat(2, 1), *request
        return tile, boxes, *request, *(torch.zeros(shape) for shape in self.pooled_shapes)


class _WithRequest:
    """An engine with its request: one tensor, or none if the network takes none."""

    def __init__(self, engine: BackboneEngine, request: tuple[Tensor, ...]) -> None:
        self.engine = engine
        self.request = request

    def __call__(self, lq: Tensor) -> Tensor:
        height, width = lq.shape[-2:]
        padded = self.engine.pad(lq, self.engine.size_multiple)
        restored = padded + self.engine.residual(padded, *self.request)
        return restored[..., :height, :width]

    def record(self, tiles: Tensor, boxes: Tensor) -> RestoreTile:
        if not self.engine.pooled_shapes:
            return lambda lq, _box: self(lq)
        values = self.engine.pooled_values(tiles, boxes, *self.request)
        return lambda lq, box: lq + self.engine.tile_residual(lq, box, values, *self.request)
