"""Mixture of experts of rising cost, one for each image (MoCE-IR, Zamfir et al., 2025).

A block of the decoder attends across channels (the shared expert), and beside it has experts with
ever more channels and wider windows, of which the image chooses one.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskdcpt_cli.models.fourier import WindowConvolution
from maskdcpt_cli.models.layers import (
    NORMS,
    ChannelAttention,
    ChannelCrossAttention,
    ChannelNorm,
    GatedFeedForward,
)
from maskdcpt_cli.models.masking import OnGrid, apply
from maskdcpt_cli.models.pooling import GlobalPool, whole_image

EXPERTS = 4
SMALLEST_WINDOW = 4  # positions; that of each further expert is twice as wide
NOISE = 1 / EXPERTS  # standard deviation of the noise on the logits of routing, in training
VARIATION_EPS = 1e-8
LAPLACIAN = ((-1.0, -1.0, -1.0), (-1.0, 8.0, -1.0), (-1.0, -1.0, -1.0))


def blocks_of_decoder(blocks: int) -> int:
    """Return how many blocks a decoder stage has, of as many as its encoder stage.

    Two less, as in MoCE-IR, whose stages have 4, 6, 6 and 2, 4, 4.
    """
    return max(blocks - 2, min(blocks, 1))


class DegradationEmbedding(nn.Module):
    """The embedding of an image by which its experts are chosen, from the high-passed latent."""

    laplacian: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("laplacian", torch.tensor([[LAPLACIAN]]), persistent=False)
        self.layers = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(
        self, latent: Tensor, on_grid: OnGrid = apply, pool: GlobalPool = whole_image
    ) -> Tensor:
        """Return (B, dim) of the latent (B, dim, h, w)."""
        kernel = self.laplacian.expand(self.dim, 1, 3, 3)
        high = on_grid(partial(F.conv2d, weight=kernel, padding=1, groups=self.dim), latent)
        return pool(self.pooled, high)

    def pooled(self, high: Tensor) -> Tensor:
        return self.layers(F.gelu(high).mean(dim=(-2, -1)))


class SpectralAttention(nn.Module):
    """Attention within windows: queries times keys at each frequency, then times the values.

    FFTformer's (Kong et al., 2023), which MoCE-IR takes for its experts.
    """

    def __init__(self, dim: int, *, window: int) -> None:
        super().__init__()
        self.q = nn.Conv2d(dim, dim, 1, bias=False)
        self.q_dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.kv = nn.Conv2d(dim, 2 * dim, 1, bias=False)
        self.kv_dwconv = nn.Conv2d(2 * dim, 2 * dim, 7, padding=3, groups=2 * dim)
        self.convolve = WindowConvolution(window)
        self.norm = ChannelNorm(dim)
        self.project_out = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor, on_grid: OnGrid) -> Tensor:
        q = on_grid(self.q_dwconv, self.q(x))
        k, v = on_grid(self.kv_dwconv, self.kv(x)).chunk(2, dim=1)
        attended = on_grid(self.convolve, torch.cat([q, k], dim=1))
        return self.project_out(self.norm(attended) * v)


class Expert(nn.Module):
    """Complexity expert (MoCE-IR, Sec. 3): attention in few channels, gated by the shared one."""

    def __init__(self, dim: int, *, channels: int, window: int) -> None:
        super().__init__()
        self.project_in = nn.Conv2d(dim, channels, 1, bias=False)
        self.gate = nn.Conv2d(dim, channels, 1, bias=False)
        self.attention = SpectralAttention(channels, window=window)
        self.project_out = nn.Conv2d(channels, dim, 1, bias=False)

    def forward(self, x: Tensor, shared: Tensor, on_grid: OnGrid) -> Tensor:
        y = self.attention(self.project_in(x), on_grid) * F.silu(self.gate(shared))
        return x + self.project_out(y)


class Experts(nn.Module):
    """Experts of rising cost, of which each image goes to the one with the highest probability.

    In training all are computed, so that masks, compiled graphs and several processes see the same
    layers in every iteration (ours). Otherwise experts that no image goes to are left out.
    """

    cost: Tensor

    def __init__(self, dim: int, *, embedding: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(
            Expert(
                dim,
                channels=max(dim >> (EXPERTS - 1 - i), 1),
                window=SMALLEST_WINDOW << i,
            )
            for i in range(EXPERTS)
        )
        self.by_features = nn.Linear(dim, EXPERTS, bias=False)
        self.by_degradation = nn.Linear(embedding, EXPERTS, bias=False)
        self.project_out = nn.Conv2d(dim, dim, 1, bias=False)
        sizes = [float(sum(p.numel() for p in expert.parameters())) for expert in self.experts]
        self.register_buffer("cost", torch.tensor(sizes) / max(sizes), persistent=False)
        self.load_loss: Tensor | None = None  # of the last pass in training

    def forward(
        self, x: Tensor, shared: Tensor, embedding: Tensor, on_grid: OnGrid, pool: GlobalPool
    ) -> Tensor:
        gates = pool(partial(self.route, embedding), x)[:, :, None, None, None]
        chosen = [
            gate * expert(x, shared, on_grid)
            for gate, expert in zip(gates.unbind(dim=1), self.experts, strict=True)
            if not _idle(gate)
        ]
        return self.project_out(torch.stack(chosen).sum(dim=0))

    def route(self, embedding: Tensor, x: Tensor) -> Tensor:
        """Return the gates (B, experts): the probability of the expert of an image, 0 for others.

        In training the logits are noisy (Shazeer et al., 2017, Sec. 2.1, with constant noise).
        """
        logits = self.by_features(x.mean(dim=(-2, -1))) + self.by_degradation(embedding)
        noisy = logits
        if self.training:
            noisy = logits + NOISE * torch.randn_like(logits)
            self.load_loss = load_loss(logits.float(), noisy.float(), self.cost)
        probabilities = noisy.softmax(dim=-1)
        top = F.one_hot(probabilities.argmax(dim=-1), EXPERTS)
        return top.to(probabilities.dtype) * probabilities


class MoETransformerBlock(nn.Module):
    """Decoder block (MoCE-IR, Sec. 3): a shared expert and experts, mixed by cross attention."""

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        expansion: float,
        bias: bool,
        embedding: int,
        norm: str = "with-bias",
    ) -> None:
        super().__init__()
        self.norm1 = NORMS[norm](dim)
        self.project_shared = nn.Conv2d(dim, dim, 1)
        self.project_routed = nn.Conv2d(dim, dim, 1)
        self.shared = ChannelAttention(dim, heads=heads, bias=bias)
        self.routed = Experts(dim, embedding=embedding)
        self.mix = ChannelCrossAttention(dim, heads=heads, bias=bias, kernel_size=7)
        self.norm2 = NORMS[norm](dim)
        self.ffn = GatedFeedForward(dim, expansion=expansion, bias=bias)

    def forward(self, x: Tensor, on_grid: OnGrid, pool: GlobalPool, embedding: Tensor) -> Tensor:
        y = self.norm1(x)
        shared = self.shared(self.project_shared(y), on_grid, pool)
        routed = self.routed(self.project_routed(y), shared, embedding, on_grid, pool)
        x = x + self.mix(routed, shared, on_grid, pool)
        return x + self.ffn(self.norm2(x), on_grid)


def take_load_loss(network: nn.Module) -> Tensor | None:
    """Return the mean of the load losses of all experts from the last pass in training, once.

    None if there are no experts, or no such pass since.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, Experts)]
    losses = [layer.load_loss for layer in layers if layer.load_loss is not None]
    for layer in layers:
        layer.load_loss = None
    return torch.stack(losses).mean() if losses else None


def load_loss(logits: Tensor, noisy: Tensor, cost: Tensor) -> Tensor:
    """Return the loss that spreads the images of a batch over the experts (MoCE-IR, Sec. 3).

    The mean of the squared variations of importance and load (Shazeer et al., 2017, Sec. 4 and
    appendix A). The importance of an expert, the sum of its probabilities, is weighted by its cost:
    an expert that costs twice as much is to be chosen half as often.

    Args:
        logits: (B, experts).
        noisy: the logits with noise, by which the experts are chosen.
        cost: (experts,), relative to the most costly one.
    """
    importance = logits.softmax(dim=-1).sum(dim=0) * cost
    to_win = (noisy.amax(dim=-1, keepdim=True) - logits) / NOISE
    load = 0.5 * torch.erfc(to_win / 2**0.5)
    return (_squared_variation(importance) + _squared_variation(load.mean(dim=0))) / 2


def _squared_variation(x: Tensor) -> Tensor:
    return (x.std() / (x.mean() + VARIATION_EPS)).square()


def _idle(gate: Tensor) -> bool:
    """Return whether no image of a batch goes to an expert.

    Nothing is idle in training, nor where a graph is recorded, which is to serve all images.
    """
    # PyTorch leaves `is_tracing` untyped
    tracing: bool = torch.jit.is_tracing()  # type: ignore[no-untyped-call]
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or tracing:
        return False
    return not bool(gate.any())
