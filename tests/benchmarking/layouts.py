"""The test sets of a preset laid out on disk, a few small images each."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from maskdcpt_cli.benchmarking.result_cache import ResultCache
from maskdcpt_cli.benchmarking.run import BenchmarkSettings, measure
from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.inference.networks import identity
from maskdcpt_cli.presets.data import EvalPart, Folders, Source, TextList, Unpaired
from maskdcpt_cli.presets.load import load_data
from tests.datasets import degraded, photos, save

SIDE = 64
COUNT = 2


def crops(count: int = COUNT) -> list[Pixels]:
    return [photo[:SIDE, :SIDE] for photo in photos()[:count]]


def only(events: Sequence[object], kind: type) -> list:
    return [event for event in events if isinstance(event, kind)]


def lay_out(root: Path, preset: str, *, count: int = COUNT) -> None:
    """All test sets of a preset, at the paths that it has."""
    for part in load_data(preset).test:
        for source in part.sources:
            _lay(root, part, source, count)


def _lay(root: Path, part: EvalPart, source: Source, count: int) -> None:
    listed = []
    for number, (gt_path, lq_path) in zip(range(count), _paths(source), strict=False):
        gt = crops(count)[number]
        if gt_path:
            save(root / gt_path, gt)
        if lq_path:
            save(root / lq_path, degraded(gt, part.degradation or "RN", seed=number))
        listed.append(f"{gt_path} {lq_path}")
    if isinstance(source, TextList):
        (root / source.list).parent.mkdir(parents=True, exist_ok=True)
        names = (line.replace(f"{source.root}/", "") for line in listed)
        (root / source.list).write_text("\n".join(names), encoding="utf-8")


def _paths(source: Source) -> Iterator[tuple[str, str]]:
    """Of each image where its ground truth and its lq lie; "" for what there is not."""
    for number in range(100):
        match source:
            case Folders():
                yield _named(source.gt, number), _named(source.lq or "", number)
            case Unpaired():
                yield "", _named(source.lq, number)
            case TextList():
                yield tuple(f"{source.root}/{side}/{number}.png" for side in ("gt", "lq"))
            case _:
                raise TypeError(f"{source.name} is of a layout that no test set has")


def _named(template: str, number: int) -> str:
    return re.sub(r"\{\w+\}", f"{number:03}", template) + ".png" if template else ""


class Counting:
    """A model that leaves images as they are, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, lq):
        self.count += 1
        return lq


def run(sets, folder: Path, restore=None, *, made_by: str = "me", **settings) -> list:
    options = BenchmarkSettings(
        folder, metrics=settings.pop("metrics", ("psnr",)), jobs=1, **settings
    )
    return list(
        measure(sets, restore or identity().restore, options, ResultCache(folder, made_by=made_by))
    )
