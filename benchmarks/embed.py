"""Puts the weights of a finished run into the package, in half precision and with their licence.

python -m benchmarks.embed runs/finetune-embedded/final.safetensors tiny
"""

from dataclasses import replace
from pathlib import Path

import click

from maskdcpt_cli.checkpoints import read_checkpoint, save_checkpoint
from maskdcpt_cli.zoo import EMBEDDED, find


@click.command()
@click.argument("weights", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("name")
def main(weights: Path, name: str) -> None:
    """Write WEIGHTS as the embedded model NAME."""
    model = find(name)
    given = read_checkpoint(weights)
    halved = replace(
        given,
        state_dict={key: tensor.half() for key, tensor in given.state_dict.items()},
        classifier={key: tensor.half() for key, tensor in given.classifier.items()},
        licence=model.licence,
    )
    path = EMBEDDED / model.filename
    save_checkpoint(halved, path)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
