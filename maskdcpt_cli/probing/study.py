"""Preliminary study (Sec. III): from networks and images to distances between features."""

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
    """Mask options; each image has its own mask, as in pre-training."""

    method: str = "random"
    patch_size: int = 16
    seed: int = 0


class ImageEncoded(NamedTuple):
    """Event: an image is encoded."""

    model: ProbedModel
    mask_ratio: float
    image: ProbeImage


class DistancesMeasured(NamedTuple):
    """Event: all images are encoded, with the distances between their features."""

    model: ProbedModel
    mask_ratio: float
    distances: Distances
    length: int  # of a vector of features


Event = ImageEncoded | DistancesMeasured


def require_packages() -> None:
    """Raise MaskDCPTError if scikit-learn or matplotlib is not installed."""
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
    """Yield the distances for each network and mask ratio, with one network in memory at a time.

    Of masked images the features at visible positions are compared, in their order (the paper does
    not specify this). With zeros at masked positions, images with small features, such as dark
    ones, would be neighbours of all others: accuracy was at chance level at a mask ratio of 0.5.

    Raises:
        MaskDCPTError: If the disk is too small for the features.
    """
    for model in models:
        network = model.open()
        for ratio in mask_ratios:
            mask = _mask(masking, ratio, images) if ratio else None
            with features_on_disk() as features:
                for image in encode(network, images, features, device=device, mask=mask):
                    yield ImageEncoded(model, ratio, image)
                yield DistancesMeasured(model, ratio, features.distances(), features.length)
        del network  # before the next one is opened


def _mask(masking: Masking, ratio: float, images: Sequence[ProbeImage]) -> PatchMask:
    height, width = images[0].pixels.shape[:2]
    return PatchMask.draw(
        masking.method, len(images), size=(height, width), patch_size=masking.patch_size,
        mask_ratio=ratio, generator=torch.Generator().manual_seed(masking.seed),
    )  # fmt: skip
