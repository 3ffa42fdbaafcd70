"""Put the weights of a finished run into the package, in half precision and with their licence.

Several must be of one run or continue one another; their mean is put there: it may harm images
less than each of them (Wortsman et al., Model soups, ICML 2022).

    python -m recipes.tiny.embed runs/finetune-embedded/final.safetensors tiny
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
import torch
from torch import Tensor

from maskdcpt_cli.weights.checkpoint import read_checkpoint, save_checkpoint
from maskdcpt_cli.weights.zoo import EMBEDDED, find


@click.command()
@click.argument(
    "weights",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
@click.argument("name")
def main(weights: tuple[Path, ...], name: str) -> None:
    """Write the mean of WEIGHTS as the embedded model NAME."""
    model = find(name)
    given = [read_checkpoint(path) for path in weights]
    halved = replace(
        given[-1],
        state_dict=_mean([one.state_dict for one in given]),
        classifier=_mean([one.classifier for one in given]),
        licence=model.licence,
    )
    path = EMBEDDED / model.filename
    save_checkpoint(halved, path)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _mean(given: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of each tensor, in half precision."""
    return {
        key: torch.stack([one[key].float() for one in given]).mean(dim=0).half() for key in given[0]
    }


if __name__ == "__main__":
    main()
