"""Parameters and multiply-adds of the architectures of Table XI, beside those of their papers.

python -m benchmarks.architectures
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import click
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import table
from maskdcpt_cli.models import Backbone, build_backbone
from maskdcpt_cli.models.moe import EXPERTS, Experts

SIDE = 256  # pixels
TYPES = 13  # of a request: 12D's
NETWORKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Restormer": ("restormer", {}),
    "Restormer, instruct": ("restormer", {"architecture": "instruct", "request_types": TYPES}),
    "Restormer, frequency": ("restormer", {"architecture": "frequency"}),
    "Restormer, moe": ("restormer", {"architecture": "moe"}),
    "NAFNet": ("nafnet", {}),
    "NAFNet, instruct": ("nafnet", {"architecture": "instruct", "request_types": TYPES}),
    "AdaIR's size: Restormer, frequency": ("restormer", {"architecture": "frequency"}),
    "MoCE-IR's size: Restormer, moe": (
        "restormer",
        {"architecture": "moe", "ffn_expansion_factor": 2.0},
    ),
    "InstructIR's size: NAFNet, instruct": (
        "nafnet",
        {
            "width": 32,
            "enc_blk_nums": (2, 2, 4, 8),
            "middle_blk_num": 4,
            "dec_blk_nums": (2, 2, 2, 2),
            "architecture": "instruct",
            "request_types": 7,
        },
    ),
}
PUBLISHED = {  # parameters in millions
    "AdaIR's size: Restormer, frequency": 28.8,
    "MoCE-IR's size: Restormer, moe": 25.35,
    "InstructIR's size: NAFNet, instruct": 15.8,
}


class Cost(NamedTuple):
    """Millions of parameters; billions of multiply-adds with the cheapest and dearest experts."""

    parameters: float
    least: float
    most: float


def cost(backbone: str, options: Mapping[str, Any]) -> Cost:
    """Return the cost of a network for one image of SIDE x SIDE pixels."""
    with torch.device("meta"):
        network, lq = build_backbone(backbone, **options), torch.empty(1, 3, SIDE, SIDE)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(lq)
    total, experts = counter.get_total_flops(), flops_of_experts(network, counter)
    chosen = (experts[0], experts[-1])
    least, most = ((total - sum(experts) + one) / 2e9 for one in chosen)
    return Cost(sum(p.numel() for p in network.parameters()) / 1e6, least, most)


def flops_of_experts(network: Backbone, counter: FlopCounterMode) -> list[int]:
    """Return the operations of each expert, over all layers; the meta device computes them all."""
    counts, root = counter.get_flop_counts(), type(network).__name__
    layers = [name for name, part in network.named_modules() if isinstance(part, Experts)]
    return [
        sum(sum(counts[f"{root}.{layer}.experts.{i}"].values()) for layer in layers)
        for i in range(EXPERTS)
    ]


@click.command()
def main() -> None:
    """Print a table."""
    rows = []
    for name, (backbone, options) in NETWORKS.items():
        one = cost(backbone, options)
        published = PUBLISHED.get(name)
        beside = f"{published} M ({one.parameters / published - 1:+.1%})" if published else ""
        macs = f"{one.least:.1f} G" + (f" to {one.most:.1f} G" if one.most > one.least else "")
        rows.append((name, f"{one.parameters:.2f} M", beside, macs))
    print(table(("network", "parameters", "published", f"multiply-adds at {SIDE}x{SIDE}"), rows))


if __name__ == "__main__":
    main()
