"""Self-ensemble: the mean of the outputs for the flips and transpositions of an image."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from maskdcpt_cli.inference.backends.engine import Network, RestoreTile


class Eightfold:
    """A network that averages its outputs over the eight flips and transpositions.

    Global pooling is recorded for each of them separately.
    """

    def __init__(self, network: Network) -> None:
        self.network = network

    def __call__(self, lq: Tensor) -> Tensor:
        return _mean(turn.undo(self.network(turn(lq))) for turn in TURNS)

    def record(self, tiles: Tensor, boxes: Tensor) -> RestoreTile:
        restores = [self.network.record(turn(tiles), turn.box(boxes)) for turn in TURNS]

        def restore(lq: Tensor, box: Tensor) -> Tensor:
            turned = zip(TURNS, restores, strict=True)
            return _mean(turn.undo(one(turn(lq), turn.box(box))) for turn, one in turned)

        return restore


@dataclass(frozen=True)
class Turn:
    """Flips, then a transposition."""

    transposed: bool
    flipped: tuple[int, ...]  # dimensions, of -2 and -1

    def __call__(self, image: Tensor) -> Tensor:
        image = image.flip(self.flipped)
        return (image.mT if self.transposed else image).contiguous()

    def undo(self, image: Tensor) -> Tensor:
        return (image.mT if self.transposed else image).flip(self.flipped)

    def box(self, boxes: Tensor) -> Tensor:
        """Return the boxes of tiles at `boxes` (N, 4) after the image is turned."""
        start, extent = boxes.clone().view(-1, 2, 2).unbind(dim=1)
        for dim in self.flipped:
            start[:, dim] = 1 - start[:, dim] - extent[:, dim]
        turned = torch.stack([start, extent], dim=1)
        return (turned.flip(-1) if self.transposed else turned).flatten(1)


TURNS = [Turn(t, f) for t, f in product((False, True), ((), (-1,), (-2,), (-2, -1)))]


def _mean(images: Iterable[Tensor]) -> Tensor:
    total = sum(images, start=torch.zeros(()))
    return total / len(TURNS)
