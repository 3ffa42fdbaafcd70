"""How good a model is by now, on images that it does not learn from."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import default_rng
from torch import Tensor

from maskdcpt_cli.data.augment import Augmentation
from maskdcpt_cli.data.mixture import MixtureEntry, make_sample
from maskdcpt_cli.data.order import SampleKey
from maskdcpt_cli.degradations import LABELS
from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.training.calibration import Answer, fit_temperature
from maskdcpt_cli.training.distributed import World
from maskdcpt_cli.training.events import Picture, Pixels, Scores, Validated
from maskdcpt_cli.training.task import Examined, Example

CENTRE = Augmentation(down=0.5, right=0.5, mirrored=False, quarter_turns=0)
ALL = tuple(LABELS)

Examine = Callable[[Example], Examined]


class Chosen(NamedTuple):
    """One image to validate on."""

    ingredient: MixtureEntry
    place: int  # of its pair


class Seen(NamedTuple):
    """What one image showed."""

    degradation: str
    scores: dict[str, float]
    answer: Answer | None
    picture: Picture | None = None  # on the first rank, of the first image of a degradation


def choose(ingredients: Sequence[MixtureEntry], *, images: int) -> list[Chosen]:
    """About so many images of each degradation, spread evenly over what there is of it."""
    shared_by = Counter(d for one in ingredients for d in one.pairs.degradations())
    chosen: list[Chosen] = []
    for one in ingredients:
        wanted = sum(-(-images // shared_by[d]) for d in one.pairs.degradations())
        places = np.linspace(0, len(one.pairs), min(wanted, len(one.pairs)), endpoint=False)
        chosen += [Chosen(one, int(place)) for place in places]
    return chosen


def validate(
    examine: Examine, chosen: Sequence[Chosen], *, crop_size: int, world: World, iteration: int
) -> tuple[Validated, list[str]]:
    """Examine the images, each on one of the ranks, and tell all ranks of all of them.

    With it come sentences about those that cannot be read, which are left out.
    """
    seen: list[Seen] = []
    broken: list[str] = []
    for one in chosen[world.rank :: world.size]:
        try:
            example = _read(one, crop_size=crop_size, device=world.device)
        except ImageError as error:
            broken.append(str(error))
            continue
        examined = examine(example)
        known = {other.degradation for other in seen}
        wanted = world.first and example.degradation not in known
        picture = _picture(example, examined) if wanted else None
        seen.append(Seen(example.degradation, dict(examined.scores), examined.answer, picture))
    pictures = tuple(one.picture for one in seen if one.picture)
    everywhere = world.gather([one._replace(picture=None) for one in seen])
    answers = [one.answer for one in everywhere if one.answer]
    temperature = fit_temperature(answers) if answers else None
    validated = Validated(iteration, _means(everywhere), pictures, temperature)
    return validated, world.gather(broken)


def mean_score(scores: Scores, metric: str) -> float | None:
    """The mean over degradations, each counting the same; None where none has the score."""
    values = [of_one[metric] for of_one in scores.values() if metric in of_one]
    return sum(values) / len(values) if values else None


def _read(one: Chosen, *, crop_size: int, device: torch.device) -> Example:
    """The centre of an image; what is drawn for it depends on its place alone."""
    pair = one.ingredient.pairs.read(one.place, partial(CENTRE.crop, side=crop_size))
    draw = SampleKey(one.place, crop_size)
    generator = default_rng(one.place)
    sample = make_sample(
        pair, one.ingredient.synthesis, CENTRE, generator, key=draw, labels=ALL, skipped=()
    )
    lq, gt = sample.lq[None].to(device), sample.gt[None].to(device)
    return Example(lq, gt, sample.number[None], pair.degradation)


def _means(seen: Sequence[Seen]) -> dict[str, dict[str, float]]:
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in seen:
        for metric, value in one.scores.items():
            values[one.degradation][metric].append(value)
    return {
        degradation: {metric: sum(v) / len(v) for metric, v in values[degradation].items()}
        for degradation in ALL
        if degradation in values
    }


def _picture(example: Example, examined: Examined) -> Picture:
    images = (examined.lq, examined.made, example.gt[0])
    return Picture(example.degradation, *map(_pixels, images))


def _pixels(image: Tensor) -> Pixels:
    scaled = image.detach().float().clip(0, 1).mul(255).round()
    pixels: Pixels = scaled.byte().permute(1, 2, 0).cpu().numpy()
    return pixels
