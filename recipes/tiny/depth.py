"""Change the depth of a trained NAFNet: leave out blocks that do nothing, split those that do much.

A block that is put in as an identity, its gates `beta` and `gamma` zero, hardly ever learns: those
of four in the middle were 0.002 to 0.013 after 13,600 iterations and more, where others have 0.02
to 0.16 (docs/architectures.md). So a block is split into two of the same weights, each with half of
its gates: x + f(x) becomes nearly the same in two steps, and both learn from there.

    python -m recipes.tiny.depth tiny-asked.safetensors deeper.safetensors --split decoder2.blocks.0
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import click
from torch import Tensor

from maskdcpt_cli.errors import unknown
from maskdcpt_cli.models import backbone_class
from maskdcpt_cli.weights.checkpoint import read_checkpoint, save_checkpoint

GATES = ("beta", "gamma")  # of a NAFBlock: how much of what it computes is added to its input


@click.command()
@click.argument("weights", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--drop", multiple=True, help="A block to leave out; may be repeated.")
@click.option("--split", multiple=True, help="A block to split; may be repeated.")
def main(weights: Path, out: Path, drop: tuple[str, ...], split: tuple[str, ...]) -> None:
    """Write the NAFNet of WEIGHTS with other blocks to OUT."""
    given = read_checkpoint(weights)
    if given.backbone != "nafnet":
        raise click.UsageError(f"{weights} is a {given.backbone}, but this changes a nafnet.")
    stages = {name.rpartition(".blocks.")[0] for name in given.state_dict if ".blocks." in name}
    known = {block for stage in stages for block in blocks_of(given.state_dict, stage)}
    if missing := sorted({*drop, *split} - known):
        raise click.UsageError(unknown("block", missing[0], sorted(known)))
    tensors = dict(given.state_dict)
    for stage in sorted(stages):
        tensors = with_depth(tensors, stage, drop=drop, split=split)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    options = {**given.options, **backbone_class(given.backbone).options_from(shapes)}
    save_checkpoint(replace(given, state_dict=tensors, options=options), out)


def blocks_of(tensors: Iterable[str], stage: str) -> list[str]:
    """Return the names of the blocks of a stage in their order, as `middle_blks.blocks.0`."""
    prefix = f"{stage}.blocks."
    rests = (name.removeprefix(prefix) for name in tensors if name.startswith(prefix))
    numbers = {rest.partition(".")[0] for rest in rests}
    return [prefix + number for number in sorted(numbers, key=int)]


def with_depth(
    tensors: Mapping[str, Tensor], stage: str, *, drop: Iterable[str], split: Iterable[str]
) -> dict[str, Tensor]:
    """Return the tensors of a network in which blocks of a stage are left out or split."""
    blocks = blocks_of(tensors, stage)
    changed = {k: v for k, v in tensors.items() if not k.startswith(f"{stage}.blocks.")}
    number = 0
    for block in blocks:
        times = 0 if block in drop else 2 if block in split else 1
        for _ in range(times):
            for name, tensor in tensors.items():
                if name.startswith(f"{block}."):
                    rest = name.removeprefix(f"{block}.")
                    value = tensor / times if rest in GATES else tensor.clone()
                    changed[f"{stage}.blocks.{number}.{rest}"] = value
            number += 1
    return changed


if __name__ == "__main__":
    main()
