"""A pass through each backbone at the released size, against the way its authors run it.

The reference is PyTorch eager, NCHW, float32, with the weights drawn at random. Its layer norms
are ours; NAFNet's authors spell them out, which is slower still, as the last row shows. The row
before has PyTorch without `beta` and `gamma` in the weights.

    python -m benchmarks.backends --backbone nafnet --size 256
    python -m benchmarks.backends --model tiny-asked --size 512
"""

import copy
from collections.abc import Callable
from unittest.mock import patch

import click
import torch
from torch import Tensor

from benchmarks.measure import machine, medians, psnr, table
from maskdcpt_cli import load_model
from maskdcpt_cli.errors import BackendError
from maskdcpt_cli.inference.backends import open_engine, pytorch
from maskdcpt_cli.models import BACKBONES, Backbone, build_backbone
from maskdcpt_cli.models.layers import ChannelNorm
from maskdcpt_cli.models.nafnet import NAFNet

ENGINES = [
    ("torch", "fp32"),
    ("torch", "bf16"),
    ("onnx", "fp32"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
]


def spelled_out_norm(self: ChannelNorm, x: Tensor) -> Tensor:
    """Layer norm as NAFNet's authors compute it."""
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).pow(2).mean(1, keepdim=True)
    normal = (x - mean) / (variance + self.eps).sqrt()
    return self.weight.view(1, -1, 1, 1) * normal + self.bias.view(1, -1, 1, 1)


def eager(model: Backbone, lq: Tensor) -> Callable[[], Tensor]:
    model = copy.deepcopy(model).eval()  # an engine lays the weights out anew

    @torch.no_grad()
    def run() -> Tensor:
        return model(lq)

    return run


def randomised(name: str) -> Backbone:
    """Random weights; NAFNet's scales are drawn too, for they start at zero and idle its blocks."""
    model = build_backbone(name)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith(("beta", "gamma")):
                parameter.normal_(std=0.2)
    return model


@click.command()
@click.option("--backbone", "names", multiple=True, type=click.Choice(sorted(BACKBONES)))
@click.option("--model", "trained", help="A model, in place of random weights.")
@click.option("--size", default=256, show_default=True)
@click.option("--rounds", default=5, show_default=True)
def main(names: tuple[str, ...], trained: str | None, size: int, rounds: int) -> None:
    """Time a pass of each engine against PyTorch eager."""
    torch.manual_seed(0)
    lq = torch.rand(1, 3, size, size)
    rows = []
    for name in [trained] if trained else names or sorted(BACKBONES):
        model = load_model(name) if trained else randomised(name)
        reference = eager(model, lq)
        expected = reference()
        cases: dict[str, Callable[[], Tensor]] = {"eager": reference}
        for backend, precision in ENGINES:
            try:
                engine = open_engine(model, device="cpu", precision=precision, backend=backend)
            except BackendError as error:
                print(error)
                continue
            cases[f"{backend} {precision}"] = lambda engine=engine: engine(lq)
        if isinstance(model, NAFNet):
            with patch.object(pytorch, "fold_scales", lambda network: network):
                unfolded = open_engine(model, device="cpu", precision="fp32", backend="torch")
            cases["torch fp32, beta and gamma apart"] = lambda engine=unfolded: engine(lq)
        seconds = medians(cases, rounds=rounds)
        for case, taken in seconds.items():
            restored = cases[case]()
            difference = (restored - expected).abs().max().item()
            rows.append(
                [
                    name,
                    case,
                    f"{taken:.2f} s",
                    f"{seconds['eager'] / taken:.2f}x",
                    f"{difference:.1e}",
                    f"{psnr(restored.clamp(0, 1), expected.clamp(0, 1)):.0f} dB",
                ]
            )
        if isinstance(model, NAFNet):
            with patch.object(ChannelNorm, "forward", spelled_out_norm):
                taken = medians({"released": reference}, rounds=rounds)["released"]
            rows.append(
                [
                    name,
                    "eager, norms as the authors spell them",
                    f"{taken:.2f} s",
                    f"{seconds['eager'] / taken:.2f}x",
                    "",
                    "",
                ]
            )
    print(f"{size}x{size}, median of {rounds} interleaved rounds, {machine()}\n")
    print(table(["backbone", "run by", "time", "speed", "largest difference", "PSNR"], rows))


if __name__ == "__main__":
    main()
