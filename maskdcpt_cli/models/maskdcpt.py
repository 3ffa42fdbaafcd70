"""The pre-training model (Sec. IV-A): a restoration network without its head, two decoders."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from maskdcpt_cli.models import classifier
from maskdcpt_cli.models import reconstruction as rebuilding
from maskdcpt_cli.models.backbone import Backbone
from maskdcpt_cli.models.classifier import Classifier
from maskdcpt_cli.models.masking import OnGrid, apply
from maskdcpt_cli.models.reconstruction import Reconstruction


class Output(NamedTuple):
    """The outputs of the two decoders; None for a decoder that is left out."""

    reconstructed: Tensor | None  # (B, 3, H, W)
    logits: Tensor | None  # (B, classes)


class MaskDCPT(nn.Module):
    """A network that reconstructs a masked image and classifies its degradation.

    The parts of the backbone after its features take no part in pre-training and are frozen, so
    every parameter with `requires_grad` receives a gradient.

    Raises ValueError for a backbone whose features the decoders do not fit.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        classes: int,
        reconstruction: bool = True,
        classification: bool = True,
        classifier_dims: Sequence[int] = classifier.DIMS,
        reconstruction_dims: Sequence[int] = rebuilding.DIMS,
    ) -> None:
        super().__init__()
        for name in backbone.beyond_features:
            backbone.get_submodule(name).requires_grad_(False)
        dims, scales = backbone.feature_dims[::-1], backbone.feature_scales[::-1]
        self.backbone = backbone
        self.pool_factors = pool_factors(scales)
        self.reconstruction = (
            Reconstruction(dims, scale=scales[0], dims=reconstruction_dims)
            if reconstruction
            else None
        )
        self.classifier = (
            Classifier(dims, classes=classes, dims=classifier_dims) if classification else None
        )

    def forward(self, lq: Tensor, on_grid: OnGrid = apply) -> Output:
        """Decode (B, 3, H, W) in [0, 1]; H and W are multiples of the backbone's size_multiple.

        With a PatchMask as `on_grid`, hidden pixels of lq have no influence.
        """
        visible = on_grid(lambda grid: grid, lq)
        features = self.pyramid(self.backbone.encode(visible, on_grid).features, on_grid)
        return Output(
            *(
                None if decoder is None else decoder(features, on_grid)
                for decoder in (self.reconstruction, self.classifier)
            )
        )

    def pyramid(self, features: tuple[Tensor, ...], on_grid: OnGrid) -> list[Tensor]:
        """Return the features, finest first, each pooled to half the size of the previous one.

        Those of NAFNet have these resolutions already; those of SwinIR share one, and so do the
        last two of Restormer and PromptIR.
        """
        return [
            feature if factor == 1 else on_grid(partial(F.avg_pool2d, kernel_size=factor), feature)
            for feature, factor in zip(reversed(features), self.pool_factors, strict=True)
        ]

    def decoder_parameters(self) -> Iterator[nn.Parameter]:
        decoders = (self.reconstruction, self.classifier)
        return chain.from_iterable(d.parameters() for d in decoders if d is not None)


def pool_factors(scales: Sequence[int]) -> list[int]:
    """Return the kernel sizes that pool features to half the resolution of the one before each.

    `scales` are the widths of their positions in pixels, finest first. Raises ValueError where no
    whole number of positions does.
    """
    factors = []
    for index, scale in enumerate(scales):
        pooled = scales[0] * 2**index
        if pooled % scale:
            raise ValueError(
                f"feature_scales end in {scales[0]}, so that number {index + 1} from the end must "
                f"divide {pooled}, but it is {scale}."
            )
        factors.append(pooled // scale)
    return factors
