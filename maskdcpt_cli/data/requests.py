"""Counterfactual pairs: an image with several degradations, and without those asked for (ours).

A network that is asked to remove some degradations learns to leave the others: its target is the
clean image with the degradations that are not asked for, applied with the same seeds.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from numpy.random import Generator

from maskdcpt_cli.degradations import CLEAN, scale
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.presets.data import Requests, TrainSynthesis
from maskdcpt_cli.synthesis.composition import ORDER, compatible, compose
from maskdcpt_cli.synthesis.contract import Image
from maskdcpt_cli.synthesis.jpeg import USUAL_QUALITIES
from maskdcpt_cli.synthesis.table import DegradationStep, sample

Syntheses = Mapping[str, Sequence[TrainSynthesis]]  # of each degradation that may be added


class CounterfactualPair(NamedTuple):
    """A degraded image, and what it would be without the degradations of a request."""

    lq: Image
    gt: Image
    present: frozenset[str]
    request: frozenset[str]


@dataclass(frozen=True)
class Asking:
    """How samples with requests are made."""

    settings: Requests
    syntheses: Syntheses
    types: tuple[str, ...]  # that can be asked for

    def __post_init__(self) -> None:
        for label in self.types:
            if not compatible(label, ()):
                raise MaskDCPTError(
                    f"requests: images get several degradations of {', '.join(ORDER)}, and "
                    f"{label} is not one of them; leave the key out, or take the setting '12d'."
                )

    def pair(
        self, clean: Image, degradation: str, synthesis: TrainSynthesis, generator: Generator
    ) -> CounterfactualPair:
        """Degrade a clean image by `degradation`, and perhaps by others.

        The JPEG compression of `p_jpeg` is not counted as present, but stays unless it is asked
        for: what is asked for nothing must come back as it is.
        """
        steps: list[DegradationStep] = []
        if degradation != CLEAN:
            first = sample(
                degradation, generator, variant=synthesis.variant, levels=synthesis.levels
            )
            steps = sample_steps(first, self.syntheses, self.settings, generator)
        present = frozenset(step.degradation for step in steps)
        if compatible("J", present) and generator.random() < synthesis.p_jpeg:
            steps.append(sample("J", generator, levels=USUAL_QUALITIES))
        request = self.request(present, generator)
        lq = compose(clean, steps)
        removes = any(step.degradation in request for step in steps)
        gt = compose(clean, steps, without=request) if removes else lq
        return CounterfactualPair(lq, gt, present, request)

    def without_scene_types(self) -> "Asking":
        """Return this without haze and low light, for images in random tones.

        The target of a pale or dim one stays so, and would teach to leave haze and darkness.
        """
        types = tuple(label for label in self.types if scale(label) != "scene")
        syntheses = {label: self.syntheses[label] for label in self.syntheses if label in types}
        return replace(self, syntheses=syntheses, types=types)

    def request(self, present: Collection[str], generator: Generator) -> frozenset[str]:
        """Sample a request for an image with these degradations."""
        return sample_request(present, self.types, self.settings, generator)


def sample_steps(
    first: DegradationStep, syntheses: Syntheses, settings: Requests, generator: Generator
) -> list[DegradationStep]:
    """Return `first` and, with the probability `p_several`, further degradations.

    There are `most` at most, which one image can have together.
    """
    steps = [first]
    if compatible(first.degradation, ()) and generator.random() < settings.p_several:
        for _ in range(int(generator.integers(1, settings.most))):
            present = [step.degradation for step in steps]
            possible = [label for label in syntheses if compatible(label, present)]
            if not possible:
                break
            label = possible[int(generator.integers(len(possible)))]
            synthesis = syntheses[label][int(generator.integers(len(syntheses[label])))]
            steps.append(
                sample(label, generator, variant=synthesis.variant, levels=synthesis.levels)
            )
    return steps


def sample_request(
    present: Collection[str], types: Sequence[str], settings: Requests, generator: Generator
) -> frozenset[str]:
    """Return the degradations that the network is asked to remove, of `types`.

    Args:
        present: The degradations of the image.
        types: All that can be asked for.
        settings: How often what is asked: exactly what is present, some of it, more, all, others,
            nothing.
        generator: The source of what is sampled.
    """
    absent = [label for label in types if label not in present]
    weights = settings.ask.model_dump()
    kind = list(weights)[int(generator.choice(len(weights), p=_normalised(weights.values())))]
    if kind == "all":
        return frozenset(types)
    if kind == "nothing":
        return frozenset()
    if kind == "others":
        return _some(absent, generator) if absent else frozenset()
    if kind == "some" and len(present) > 1:
        return _some(sorted(present), generator)
    if kind == "more" and absent:
        return frozenset(present) | _some(absent, generator)
    return frozenset(present)


def _some(labels: Sequence[str], generator: Generator) -> frozenset[str]:
    """Return at least one of several labels, and not all."""
    count = int(generator.integers(1, max(2, len(labels))))
    return frozenset(generator.choice(labels, size=count, replace=False).tolist())


def _normalised(weights: Collection[float]) -> list[float]:
    total = sum(weights)
    return [weight / total for weight in weights]
