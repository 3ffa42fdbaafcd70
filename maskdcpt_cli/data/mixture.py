"""The training mixture: from the number of a sample to its tensors."""

from bisect import bisect_right
from collections.abc import Sequence
from functools import partial
from itertools import accumulate, chain
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator, default_rng
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from maskdcpt_cli.data.augment import Augmentation
from maskdcpt_cli.data.order import SampleKey, permuted
from maskdcpt_cli.data.pairs import Pair
from maskdcpt_cli.data.requests import Asking
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.degradations import removable, scale
from maskdcpt_cli.errors import ImageError, MaskDCPTError
from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.presets.data import Requests, Synthesis, TrainSynthesis
from maskdcpt_cli.synthesis.contract import Image
from maskdcpt_cli.synthesis.jpeg import usual_jpeg
from maskdcpt_cli.synthesis.table import check, degrade
from maskdcpt_cli.synthesis.tone_jitter import (
    black_and_white,
    inverted,
    jitter_tones,
    sharpened,
    upscaled,
    without_colour,
    zoomed,
)

ATTEMPTS = 10  # pairs in a row that may be broken


class Sample(NamedTuple):
    """One training sample, or several, stacked."""

    lq: Tensor  # (3, H, W) or (B, 3, H, W), uint8, or float32 in [0, 1]; see to_float
    gt: Tensor  # as lq
    label: Tensor  # () or (B,), int64: the index of the degradation in the order of the labels
    number: Tensor  # () or (B,), int64: of the sample in the run
    present: Tensor  # (types,) or (B, types), float32: 1 for each degradation of lq, 0 for others
    request: Tensor  # as present: 1 for each degradation of which gt is free
    skipped: Sequence[str]  # why broken pairs were replaced by others, a sentence each


class Mixture(Dataset[Sample]):
    """Endless samples, each a function of the seed and its number alone.

    As many consecutive numbers as the mixture is long visit every pair as often as its set
    repeats, in an order that is permuted for each such epoch. A pair that cannot be read is
    replaced by another of its set.
    """

    def __init__(
        self,
        sets: Sequence[ImageSet],
        *,
        labels: Sequence[str],
        seed: int = 0,
        requests: Requests | None = None,
    ) -> None:
        """Mix sets; raise MaskDCPTError for an unlabelled degradation, and for no pairs.

        With `requests` a sample may have several degradations, and gt those not asked for.
        """
        self.sets = tuple(sets)
        self.labels = tuple(labels)
        self.seed = seed
        self.asking = (
            None if requests is None else Asking(requests, _syntheses(self.sets), removable(labels))
        )
        self._ends = tuple(accumulate(len(one) * one.repeat for one in self.sets))
        for one in self.sets:
            check_labels(one.pairs.degradations(), one.synthesis, labels=self.labels)
        if not len(self):
            raise MaskDCPTError("There are no pairs to train on.")

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, key: SampleKey) -> Sample:
        """Return a sample; raise MaskDCPTError if ATTEMPTS pairs in a row are broken."""
        images, index = self.set_of(key.number)
        skipped: list[str] = []
        for attempt in range(ATTEMPTS):
            generator = default_rng((self.seed, key.number, attempt))
            if attempt:
                index = int(generator.integers(len(images)))
            augmentation = Augmentation.draw(generator)
            try:
                pair = images.pairs.read(index, partial(augmentation.crop, side=key.crop_size))
            except ImageError as error:
                skipped.append(str(error))
                continue
            return make_sample(
                pair, images.synthesis, augmentation, generator,
                key=key, labels=self.labels, skipped=skipped, asking=self.asking,
            )  # fmt: skip
        raise MaskDCPTError(too_many_broken(skipped))

    def set_of(self, number: int) -> tuple[ImageSet, int]:
        """Return the set of a sample, and the index of its pair."""
        epoch, position = divmod(number, len(self))
        position = permuted(position, length=len(self), seed=(self.seed, epoch))
        i = bisect_right(self._ends, position)
        before = self._ends[i - 1] if i else 0
        return self.sets[i], (position - before) % len(self.sets[i])


class Curriculum(Dataset[Sample]):
    """Mixtures in a row, each for a number of samples of the run, the last without end."""

    def __init__(self, mixtures: Sequence[Mixture], lengths: Sequence[int]) -> None:
        """Chain mixtures; raise MaskDCPTError if they differ in their labels."""
        first, *others = mixtures
        for other in others:
            if other.labels != first.labels:
                raise MaskDCPTError(
                    "The stages of a run learn the same labels in the same order, but one has "
                    f"{' '.join(first.labels)} and another {' '.join(other.labels)}."
                )
        self.mixtures = tuple(mixtures)
        self.labels = first.labels
        self._ends = tuple(accumulate(lengths))[: len(others)]

    def __getitem__(self, key: SampleKey) -> Sample:
        return self.mixtures[bisect_right(self._ends, key.number)][key]


Samples = Mixture | Curriculum


def check_labels(
    degradations: frozenset[str], synthesis: Synthesis, *, labels: Sequence[str]
) -> None:
    """Raise MaskDCPTError for a degradation without a label, or an unknown variant or level."""
    for degradation in sorted(degradations):
        if degradation not in labels:
            raise MaskDCPTError(
                f"There are pairs of degradation {degradation}, which is not in the setting: "
                f"{', '.join(labels)}."
            )
        check(degradation, variant=synthesis.variant, levels=synthesis.levels or ())


def too_many_broken(skipped: Sequence[str]) -> str:
    """Return the message for pairs of which most cannot be read."""
    return f"{len(skipped)} pairs in a row are broken; the last: {' '.join(skipped[-3:])}"


def make_sample(
    pair: Pair,
    synthesis: Synthesis,
    augmentation: Augmentation,
    generator: Generator,
    *,
    key: SampleKey,
    labels: Sequence[str],
    skipped: Sequence[str],
    asking: Asking | None = None,
) -> Sample:
    """Make a sample of a pair that is already cropped by the augmentation.

    A clean image is degraded last: rain falls down, and the blocks of JPEG begin at the corner.
    Without `asking` exactly its degradation is asked for.
    """
    lq: Pixels | Image
    gt: Pixels | Image
    pixels = gt = augmentation.apply(pair.gt, side=key.crop_size)
    present = request = frozenset({pair.degradation})
    if pair.lq is None:
        synthesis = _train_synthesis(synthesis)
        clean, changed, jittered, grey = _varied(pixels, synthesis, generator)
        if asking:
            if jittered and scale(pair.degradation) != "scene":
                asking = asking.without_scene_types()
            made = asking.pair(clean, pair.degradation, synthesis, generator)
            degraded, target, present, request = made
        else:
            degraded, target = _degraded(clean, pair.degradation, synthesis, generator), clean
        if grey:
            degraded, target = without_colour(degraded), without_colour(target)
        lq, gt = degraded, target if asking or changed else gt
    else:
        lq = augmentation.apply(pair.lq, side=key.crop_size)
        if asking:
            request = asking.request(present, generator)
            gt = gt if present <= request else lq
    types = removable(labels)
    return Sample(
        _tensor(lq),
        _tensor(gt),
        torch.tensor(labels.index(pair.degradation)),
        torch.tensor(key.number),
        _multi_hot(present, types),
        _multi_hot(request, types),
        tuple(skipped),
    )


def _train_synthesis(synthesis: Synthesis) -> TrainSynthesis:
    """Return a synthesis as one of training; that of a test set varies nothing else."""
    if isinstance(synthesis, TrainSynthesis):
        return synthesis
    return TrainSynthesis(variant=synthesis.variant, levels=synthesis.levels)


def _syntheses(sets: Sequence[ImageSet]) -> dict[str, list[TrainSynthesis]]:
    """Return how the sets synthesise each degradation."""
    syntheses: dict[str, list[TrainSynthesis]] = {}
    for one in sets:
        for label in sorted(one.pairs.degradations()):
            syntheses.setdefault(label, []).append(_train_synthesis(one.synthesis))
    return syntheses


def _multi_hot(present: frozenset[str], types: Sequence[str]) -> Tensor:
    return torch.tensor([float(label in present) for label in types])


class _Varied(NamedTuple):
    """A clean image in other tones, or at another scale."""

    clean: Image
    changed: bool
    jittered: bool  # in its tones
    grey: bool


def _varied(pixels: Pixels, synthesis: TrainSynthesis, generator: Generator) -> _Varied:
    """Vary the tones, the sharpness and the scale of a clean image."""

    def chance(probability: float) -> bool:
        return bool(probability) and generator.random() < probability

    jittered = chance(synthesis.p_tone)
    clean = jitter_tones(pixels, generator) if jittered else _scaled(pixels)
    changed = jittered
    for probability, change in (
        (synthesis.p_upscale, upscaled),
        (synthesis.p_zoom, zoomed),
        (synthesis.p_sharpen, sharpened),
        (synthesis.p_invert, inverted),
    ):
        if chance(probability):
            clean, changed = change(clean, generator), True
            jittered = jittered or change is inverted
    if grey := chance(synthesis.p_grey):
        clean = black_and_white(clean, generator)
    return _Varied(clean, changed or grey, jittered, grey)


def _degraded(
    clean: Image, degradation: str, synthesis: TrainSynthesis, generator: Generator
) -> Image:
    lq = degrade(
        clean, degradation, generator, variant=synthesis.variant, levels=synthesis.levels
    ).lq
    jpeg = synthesis.p_jpeg and generator.random() < synthesis.p_jpeg
    return usual_jpeg(lq, generator) if jpeg else lq


def stack(samples: Sequence[Sample]) -> Sample:
    """Stack samples to a batch."""
    *tensors, skipped = zip(*samples, strict=True)
    # In a worker process these are stacked in memory that is shared with the parent.
    stacked = (default_collate(_of_one_dtype(column)) for column in tensors)
    return Sample._make([*stacked, tuple(chain.from_iterable(skipped))])


def to_float(image: Tensor) -> Tensor:
    """Return an image of a sample in float32 in [0, 1], on its device: 0 to 255 become 0 to 1.

    The values are those of a division on the CPU on every device.
    """
    if image.dtype != torch.uint8:
        return image
    # By a tensor: CUDA multiplies by the inverse of a number, which rounds twice.
    return image.float() / torch.full((), 255.0, device=image.device)


def _of_one_dtype(column: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors as they are if all are of one dtype, else images in float32."""
    alike = len({one.dtype for one in column}) == 1
    return list(column) if alike else [to_float(one) for one in column]


def _scaled(pixels: Pixels) -> Image:
    return np.divide(pixels, 255, dtype=np.float32, order="C")


def _tensor(image: Pixels | Image) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
