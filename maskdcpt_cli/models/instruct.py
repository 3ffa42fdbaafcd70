"""Instruction form: a network that is asked what to remove (InstructIR, Conde et al., 2024).

InstructIR reads a sentence. Here a request (B, types) in {0, 1} says for each known type of
degradation whether it is to be removed.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from maskdcpt_cli.models.layers import BlockSequence
from maskdcpt_cli.models.masking import OnGrid
from maskdcpt_cli.models.pooling import GlobalPool
from maskdcpt_cli.models.shapes import Shapes, size_of

EMBEDDING = 128  # channels (ours; InstructIR projects its sentences to 256)
TYPES_KEY = "request_embedding.layers.0.weight"  # in the state dict of a network in this form


class RequestEmbedding(nn.Module):
    """The embedding of a request (ours, in place of InstructIR's text encoder, Sec. 3.2)."""

    def __init__(self, types: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(types, EMBEDDING), nn.GELU(), nn.Linear(EMBEDDING, EMBEDDING)
        )

    def forward(self, request: Tensor) -> Tensor:
        return self.layers(request.to(next(self.parameters()).dtype))


class InstructionBlock(nn.Module):
    """Instruction condition block, ICB (InstructIR, Sec. 3.3): F' = Block(F * mask) + F.

    The mask of the channels is the sigmoid of the projected instruction. As released, F is first
    scaled and shifted; both are 0 at first, and the block then changes nothing.
    """

    def __init__(self, block: nn.Module, *, channels: int) -> None:
        super().__init__()
        self.mask = nn.Linear(EMBEDDING, channels)
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.block = block

    def forward(self, x: Tensor, instruction: Tensor, on_grid: OnGrid, pool: GlobalPool) -> Tensor:
        mask = self.mask(instruction).sigmoid()[:, :, None, None]
        masked = torch.addcmul(mask * self.beta, mask * self.gamma, x)  # mask * (gamma x + beta)
        return x + self.block(masked, on_grid, pool)


class InstructedStage(BlockSequence):
    """Blocks at one resolution, closed by an instruction block."""

    def __init__(self, blocks: Iterable[nn.Module], *, instructed: InstructionBlock) -> None:
        super().__init__(blocks)
        self.instructed = instructed

    def forward(self, x: Tensor, *context: OnGrid | GlobalPool | Tensor) -> Tensor:
        *others, instruction = context
        return self.instructed(super().forward(x, *others), instruction, *others)


def request_types_in(shapes: Shapes) -> int:
    """Return how many types a request to a network with tensors of these shapes has."""
    return size_of(shapes, TYPES_KEY, 1) if TYPES_KEY in shapes else 0
