"""What becomes of a NAFNet over pre-training: its features, its gates, and what its blocks add.

Prints for the weights that a run kept (`--set training.keep_every=N`) the nearest-neighbour
accuracy (as `maskdcpt study training-curve`, with each photo in all ways), the mean size of the
gates beta and gamma, which begin at 0, and the size of what the blocks add to their features.

    python -m recipes.evidence.growth runs/pretrain-evidence --photos photos/
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import click
import torch
from torch import Tensor

from benchmarks.measure import machine, table
from maskdcpt_cli.data.sets import from_photos
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.models.nafnet import NAFBlock
from maskdcpt_cli.probing.images import ProbeImage, from_clean
from maskdcpt_cli.probing.neighbours import classify
from maskdcpt_cli.probing.probed_models import ProbedModel
from maskdcpt_cli.probing.study import DistancesMeasured, measure
from maskdcpt_cli.probing.training_curve import trained_models
from recipes.evidence.runs import SETTING

WATCHED = 20  # images, for what the blocks add


class Growth(NamedTuple):
    """The state of a network in a run."""

    iteration: int | None
    accuracy: float  # in [0, 1]
    spread: float  # over splits
    beta: float  # mean magnitude
    gamma: float
    added: float  # fraction of the norm of the features that a block adds; mean over blocks


def growths(models: Sequence[ProbedModel], images: Sequence[ProbeImage]) -> Iterator[Growth]:
    """Yield the state of each network, by the images of the study."""
    for event in measure(models, images):
        if isinstance(event, DistancesMeasured):
            network, found = event.model.open(), classify(event.distances, images)
            yield Growth(
                event.model.iteration, found.accuracy, found.spread,
                gate_size(network, "beta"), gate_size(network, "gamma"),
                added_fraction(network, images[:: max(1, len(images) // WATCHED)]),
            )  # fmt: skip


def gate_size(network: Backbone, gate: str) -> float:
    """Return the mean magnitude of a gate of all blocks."""
    gates = [getattr(one, gate) for one in network.modules() if isinstance(one, NAFBlock)]
    return float(torch.cat([one.detach().flatten() for one in gates]).abs().mean())


@torch.inference_mode()
def added_fraction(network: Backbone, images: Sequence[ProbeImage]) -> float:
    """Return |block(x) - x| / |block(x)|, the mean over blocks and images."""
    fractions: dict[NAFBlock, list[float]] = defaultdict(list)

    def watch(block: Any, given: tuple[Tensor, ...], output: Tensor) -> None:
        fractions[block].append(float((output - given[0]).norm() / output.norm()))

    for block in network.modules():
        if isinstance(block, NAFBlock):
            block.register_forward_hook(watch)
    for image in images:
        network(torch.from_numpy(image.pixels).movedim(-1, 0)[None] / 255)
    return fmean(map(fmean, fractions.values()))


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--photos", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--images", default=100, show_default=True, help="Of each degradation.")
@click.option("--size", default=128, show_default=True, help="Side of an image in pixels.")
def main(run: Path, photos: Path, *, images: int, size: int) -> None:
    """Print what becomes of the network of a pre-training run."""
    read = from_clean(from_photos(photos), SETTING, images=images, size=size, shared=True)
    probes = [one for one in read if isinstance(one, ProbeImage)]
    print(f"{len(probes)} images of {size} pixels, {machine()}:\n")
    rows = [
        [
            str(one.iteration), f"{one.accuracy:.1%} ± {one.spread:.1%}",
            f"{one.beta:.4f}", f"{one.gamma:.4f}", f"{one.added:.1%}",
        ]
        for one in growths(trained_models([run]), probes)
    ]  # fmt: skip
    print(table(["iteration", "kNN accuracy", "mean beta", "mean gamma", "added by a block"], rows))


if __name__ == "__main__":
    main()
