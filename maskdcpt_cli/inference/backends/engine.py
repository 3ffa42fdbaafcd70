"""What every inference backend does alike."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import ClassVar

from torch import Tensor, nn

from maskdcpt_cli.inference.backends.memory import activation_bytes
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.models.backbone import pad_by_reflection

MEASURED_TILE = 128


class Residual(nn.Module):
    """What a network adds to lq. The addition stays outside, in fp32: lq must not lose bits."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, lq: Tensor) -> Tensor:
        return self.backbone.head(self.backbone.encode(lq).latent)


class Engine(ABC):
    """A backbone made ready on one device: (B, 3, h, w) in [0, 1] of any size -> restored.

    Takes and returns float32 on the CPU; the result is not clipped.
    """

    backend: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]]  # on the CPU
    memory_factor: ClassVar[float]  # peak memory measured on the CPU, over the live activations

    def __init__(self, model: Backbone, *, device: str, precision: str) -> None:
        self.model = model
        self.device = device
        self.precision = precision
        self.size_multiple = model.size_multiple

    def __call__(self, lq: Tensor) -> Tensor:
        height, width = lq.shape[-2:]
        padded = pad_by_reflection(lq, self.size_multiple)
        return (padded + self.residual(padded))[..., :height, :width]

    @abstractmethod
    def residual(self, padded: Tensor) -> Tensor:
        """What the network adds to lq, whose height and width are multiples of size_multiple."""

    @classmethod
    def fast_precision(cls, device: str) -> str:  # noqa: ARG003  what a child may decide by
        """What `auto` means on a device."""
        return "fp32"

    def describe(self) -> str:
        return f"{self.backend} on {self.device}, {self.precision}"

    def in_fp32(self) -> "Engine":
        """The same network in full precision, for what the guard refuses."""
        return self if self.precision == "fp32" else self._in_fp32

    def peak_bytes(self, tile: int) -> int:
        """The memory that a pass over tile x tile pixels needs on top of the weights."""
        return round(self.memory_factor * self._bytes_per_pixel * tile**2)

    @cached_property
    def _in_fp32(self) -> "Engine":
        return type(self)(self.model, device=self.device, precision="fp32")

    @cached_property
    def _bytes_per_pixel(self) -> float:
        return activation_bytes(Residual(self.model), MEASURED_TILE) / MEASURED_TILE**2
