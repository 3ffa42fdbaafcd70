"""A network as one graph: an image of any size, or tiles of one, to restored pixels."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from maskdcpt_cli._version import __version__
from maskdcpt_cli.inference.backends.engine import CONTEXT
from maskdcpt_cli.inference.backends.exported import BOXES, LQ, RECORDED, REQUEST, ExportMetadata
from maskdcpt_cli.inference.backends.pytorch import TorchEngine
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.models.backbone import pad_with_zeros
from maskdcpt_cli.models.pooling import JointPool


class ExportableNetwork(nn.Module):
    """A network whose graph, recorded once, restores whole images, and tiles of large ones.

    Takes, as far as the network has them, in this order:
        lq: (B, 3, h, w) in [0, 1], of any size: an image, or tiles of one image.
        request: (1, types).
        boxes: (B, 4) of the tiles, as `Engine.record` takes them; (0, 4) for a whole image.
        recorded: (1, N), pooled values of the image; (0, N) to pool over lq.

    Returns the restored pixels (B, 3, h, w), not clipped, and the pooled values (1, N) that were
    used. Without global pooling `lq` is any number of images, and the restored ones alone return.
    """

    def __init__(self, backbone: Backbone, metadata: ExportMetadata, sizes: Sequence[int]) -> None:
        super().__init__()
        self.backbone = backbone
        self.metadata = metadata
        self.sizes = list(sizes)  # of the pooled values, in order of use

    def forward(self, lq: Tensor, *others: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        given = dict(zip(self.metadata.inputs, (lq, *others), strict=True))
        request = given.get(REQUEST)
        padded = _pad(lq, self.metadata)
        height, width = lq.shape[-2:]
        if not self.sizes:
            restored = padded + self.backbone.residual(padded, request=request)
            return restored[..., :height, :width]
        recorded = torch.split(given[RECORDED], self.sizes, dim=1)
        pool = _EitherPool(given[BOXES], recorded, images=lq)
        restored = padded + self.backbone.residual(padded, pool, request)
        pooled = torch.cat([value.reshape(1, -1) for value in pool.values], dim=1)
        return restored[..., :height, :width], pooled

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Return inputs to record the graph with: two tiles, of a size that needs padding."""
        side = 2 * self.metadata.size_multiple
        types, pooled = self.metadata.request_types, self.metadata.pooled
        examples = {
            LQ: torch.rand(2, 3, side + 1, side + 3),
            REQUEST: torch.ones(1, types),
            BOXES: torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 0.5, 1.0]]),
            RECORDED: torch.zeros(0, pooled),
        }
        return tuple(examples[name] for name in self.metadata.inputs)


class _EitherPool(JointPool):
    """Recorded values where there are any, else pooling: of tiles, or without boxes of an image.

    The choice is by sizes alone, so that it is part of the graph.
    """

    def __init__(self, boxes: Tensor, recorded: Sequence[Tensor], *, images: Tensor) -> None:
        whole = torch.cat([boxes, torch.tensor([[0.0, 0.0, 1.0, 1.0]])])
        super().__init__(whole[: images.shape[0]], context=CONTEXT)
        self.recorded = iter(recorded)
        self.tiled = boxes.shape[0] // images.shape[0]  # 1, or 0

    def __call__(self, op: Callable[..., Tensor], *maps: Tensor) -> Tensor:
        pooled = super().__call__(op, *maps)
        either = torch.cat([next(self.recorded), pooled.reshape(1, -1)])[:1]
        self.values[-1] = either.reshape(pooled.shape)
        return self.values[-1]

    def _inner(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        rows, columns = height // self.context * self.tiled, width // self.context * self.tiled
        return x[..., rows : height - rows, columns : width - columns]


def exportable(model: Backbone) -> ExportableNetwork:
    """Return a network ready to be recorded as a graph, with its metadata."""
    engine = TorchEngine(model, device="cpu", precision="fp32")
    sizes = [shape.numel() for shape in engine.pooled_shapes]
    metadata = ExportMetadata(
        version=__version__,
        backbone=type(model).__name__.lower(),
        size_multiple=model.size_multiple,
        padding=model.padding,
        request_types=model.request_types,
        requests=model.requests,
        pooled=sum(sizes),
        bytes_per_pixel=engine.bytes_per_pixel,
    )
    return ExportableNetwork(copy.deepcopy(model), metadata, sizes).eval()


def _pad(lq: Tensor, metadata: ExportMetadata) -> Tensor:
    """Pad as PADDINGS do, by the same operations whatever the size."""
    if metadata.padding == "zeros":
        return pad_with_zeros(lq, metadata.size_multiple)
    for dim in (-2, -1):
        size = torch.as_tensor(lq.shape[dim])
        parts = (size + metadata.size_multiple - 1) // metadata.size_multiple
        period = (2 * (size - 1)).clamp(min=1)
        count = parts * metadata.size_multiple  # a tensor: a number would be fixed in the graph
        positions: Tensor = torch.arange(count)  # type: ignore[call-overload]  # its stub lacks it
        index = positions % period
        lq = lq.index_select(dim, torch.minimum(index, period - index) % size)
    return lq
