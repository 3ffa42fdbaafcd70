"""The pre-training step of each backbone at the released size, against what it could also be.

A step is the forward pass with both decoders, the backward pass and AdamW's update, for one image.
The same step is run with nothing hidden, and with the maps kept dense and masked layer by layer,
as the released code does it; that this gives the same numbers and gradients is checked first, on a
small image.

    python -m benchmarks.step --backbone nafnet --size 256 --mask-ratio 0.5
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import click
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW

from benchmarks.backends import randomised
from benchmarks.dense_masking import DenseMask, mask_densely
from benchmarks.measure import machine, medians, table
from maskdcpt_cli.models import BACKBONES
from maskdcpt_cli.models.maskdcpt import MaskDCPT
from maskdcpt_cli.models.masking import OnGrid, PatchMask, apply
from maskdcpt_cli.training.distributed import peak_memory
from maskdcpt_cli.training.losses import focal_loss

OURS, UNMASKED, DENSE = "visible positions only", "nothing hidden", "masked densely"
WAYS = (OURS, UNMASKED, DENSE)
CLASSES = 5
CHECKED_SIZE, TOLERANCE = 64, 1e-9


class Setting(NamedTuple):
    """The setting of a step; equal settings have equal weights, images and masks."""

    backbone: str
    size: int
    mask_ratio: float


class Step:
    """A model in pre-training, and the batch of one image that it learns from again and again."""

    def __init__(self, setting: Setting, way: str, *, dtype: torch.dtype = torch.float32) -> None:
        torch.manual_seed(0)
        side = setting.size
        lq, gt = torch.rand(2, 1, 3, side, side, dtype=dtype)
        self.lq, self.gt = (x.to(memory_format=torch.channels_last) for x in (lq, gt))
        self.label = torch.tensor([1])
        mask = PatchMask.random(1, size=(side, side), mask_ratio=setting.mask_ratio)
        self.model = MaskDCPT(randomised(setting.backbone), classes=CLASSES).to(dtype)
        for part in self.model.modules():
            if isinstance(part, nn.Conv2d):  # as training lays them out
                part.to(memory_format=torch.channels_last)
        self.on_grid: OnGrid = apply if way == UNMASKED else mask
        if way == DENSE:
            self.on_grid = DenseMask(mask.visible, size=mask.size, patch_size=mask.patch_size)
            mask_densely(self.model, self.on_grid)
        learning = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = AdamW(learning, lr=1e-5, weight_decay=0, fused=True)

    def learn(self) -> tuple[Tensor, Tensor]:
        """Compute the gradient of the loss; return the outputs of both decoders."""
        self.optimizer.zero_grad()
        rebuilt, logits = self.model(self.lq, self.on_grid)
        loss = F.l1_loss(rebuilt, self.gt) + focal_loss(logits, self.label, gamma=2)
        torch.autograd.backward(loss)
        return rebuilt.detach(), logits.detach()

    def train(self) -> None:
        """Run the whole step."""
        self.learn()
        self.optimizer.step()

    def encoder(self) -> None:
        """Run the step of the encoder alone."""
        self.optimizer.zero_grad()
        visible = self.on_grid(lambda grid: grid, self.lq)
        features = self.model.backbone.encode(visible, self.on_grid).features
        torch.autograd.backward([feature.mean() for feature in features])
        self.optimizer.step()

    def gradient(self) -> Tensor:
        parameters = (p for group in self.optimizer.param_groups for p in group["params"])
        return torch.cat([p.grad.flatten() for p in parameters])


def largest_difference(setting: Setting) -> float:
    """Return the relative difference of ours and the dense way in outputs and gradient.

    In double precision: in single a ReLU's input of nearly zero may fall on either side.
    """
    results: list[list[Tensor]] = []
    for way in (OURS, DENSE):
        step = Step(setting, way, dtype=torch.float64)
        results.append([*step.learn(), step.gradient()])
    pairs = zip(*results, strict=True)
    return max(float((ours - dense).norm() / dense.norm()) for ours, dense in pairs)


def peak(setting: Setting, way: str) -> int:
    """Return the peak memory of this process in bytes, after two steps."""
    step = Step(setting, way)
    step.train()
    step.train()
    return peak_memory(torch.device("cpu"))


def peaks(setting: Setting) -> dict[str, int]:
    """Return the peak memory of each way, in a process of its own."""
    held = {}
    for way in WAYS:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            held[way] = alone.submit(peak, setting, way).result()
    return held


def rows_of(setting: Setting, *, rounds: int, held: dict[str, int]) -> list[list[str]]:
    """Return rows of the table: of the whole step, and of the encoder alone."""
    steps = {way: Step(setting, way) for way in WAYS}
    cases: dict[str, Callable[[], None]] = {}
    for way, step in steps.items():
        cases[f"step {way}"], cases[f"encoder {way}"] = step.train, step.encoder
    seconds = medians(cases, rounds=rounds)
    return [
        [
            setting.backbone,
            way,
            *_against(seconds[f"step {OURS}"], seconds[f"step {way}"], "{:.2f} s"),
            *_against(seconds[f"encoder {OURS}"], seconds[f"encoder {way}"], "{:.2f} s"),
            *_against(held[OURS] / 1e9, held[way] / 1e9, "{:.2f} GB"),
        ]
        for way in WAYS
    ]


def _against(ours: float, other: float, unit: str) -> tuple[str, str]:
    return unit.format(other), f"{ours / other:.2f}"


@click.command()
@click.option("--backbone", "names", multiple=True, type=click.Choice(sorted(BACKBONES)))
@click.option("--size", default=256, show_default=True)
@click.option("--mask-ratio", default=0.5, show_default=True)
@click.option("--rounds", default=5, show_default=True)
def main(names: tuple[str, ...], size: int, mask_ratio: float, rounds: int) -> None:
    """Time a pre-training step and take its peak memory, against the same step done otherwise."""
    settings = [Setting(name, size, mask_ratio) for name in names or sorted(BACKBONES)]
    # Before anything else: a process begins its life with the peak of the one that starts it.
    held = {setting: peaks(setting) for setting in settings}
    rows = []
    for setting in settings:
        difference = largest_difference(setting._replace(size=CHECKED_SIZE))
        print(f"{setting.backbone}: ours and the dense way differ by {difference:.0e}")
        if not difference < TOLERANCE:
            raise click.ClickException("That is too much: they are not the same step.")
        rows += rows_of(setting, rounds=rounds, held=held[setting])
    print(f"\n{size}x{size}, {mask_ratio:.0%} hidden, one image, channels last, float32, median of")
    print(f"{rounds} interleaved rounds, {machine()}. A ratio is ours over that row's.\n")
    header = ["backbone", "the step", "time", "ratio", "encoder alone", "ratio", "peak", "ratio"]
    print(table(header, rows))


if __name__ == "__main__":
    main()
