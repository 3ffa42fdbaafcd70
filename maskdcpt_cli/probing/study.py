"""The preliminary study (Sec. III), from networks and images to distances between features."""

from collections.abc import Generator, Sequence
from importlib.util import find_spec
from typing import NamedTuple

import torch

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.models.masking import PatchMask
from maskdcpt_cli.probing.features import Distances, encode, features_on_disk
from maskdcpt_cli.probing.images import ProbeImage
from maskdcpt_cli.probing.probed_models import ProbedModel

PACKAGES = ("sklearn", "matplotlib")


class Masking(NamedTuple):
    """How patches are hidden; every image has a mask of its own, as in pre-training."""

    method: str = "random"
    patch_size: int = 16
    seed: int = 0


class ImageEncoded(NamedTuple):
    """An image went through a network."""

    model: ProbedModel
    mask_ratio: float
    image: ProbeImage


class DistancesMeasured(NamedTuple):
    """All images went through a network; how far its features of them lie apart."""

    model: ProbedModel
    mask_ratio: float
    distances: Distances
    length: int  # of a vector of features


Event = ImageEncoded | DistancesMeasured


def require_packages() -> None:
    """Raise MaskDCPTError where what draws and classifies is not installed."""
    if not all(find_spec(package) for package in PACKAGES):
        raise MaskDCPTError(
            "A study needs scikit-learn and matplotlib: pip install 'maskdcpt[study]'."
        )


def measure(
    models: Sequence[ProbedModel],
    images: Sequence[ProbeImage],
    *,
    device: str = "cpu",
    mask_ratios: Sequence[float] = (0.0,),
    masking: Masking = Masking(),  # noqa: B008  # it is frozen
) -> Generator[Event, None, None]:
    """Yield the distances for each network and mask ratio, one network in memory at a time.

    Of a masked image the visible places are compared, in their order (ours; the paper does not
    say). Zeros at hidden places would be compared with features: whatever has small ones, as dark
    images, would be everyone's neighbour, and accuracy fell to chance with half of it hidden.

    Raises MaskDCPTError where the features find no room on disk.
    """
    for model in models:
        network = model.open()
        for ratio in mask_ratios:
            mask = _drawn(masking, ratio, images) if ratio else None
            with features_on_disk() as features:
                for image in encode(network, images, features, device=device, mask=mask):
                    yield ImageEncoded(model, ratio, image)
                yield DistancesMeasured(model, ratio, features.distances(), features.length)
        del network  # before the next one is opened


def _drawn(masking: Masking, ratio: float, images: Sequence[ProbeImage]) -> PatchMask:
    height, width = images[0].pixels.shape[:2]
    return PatchMask.draw(
        masking.method, len(images), size=(height, width), patch_size=masking.patch_size,
        mask_ratio=ratio, generator=torch.Generator().manual_seed(masking.seed),
    )  # fmt: skip
