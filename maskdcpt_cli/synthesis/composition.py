"""Several degradations of one image, and the image as it would be without some of them (ours)."""

from collections.abc import Collection, Iterable
from itertools import chain

from maskdcpt_cli.synthesis.contract import Image
from maskdcpt_cli.synthesis.table import DegradationStep

# What an image goes through from the scene to the file; an image has at most one of each stage.
STAGES: tuple[tuple[str, ...], ...] = (
    ("H",),  # scene
    ("RS", "S"),  # weather
    ("LL",),  # light
    ("MB", "DB", "GB"),  # optics
    ("RD",),  # on the lens
    ("GN", "RN"),  # sensor
    ("MS",),
    ("MR",),  # a photo of a screen
    ("J",),  # codec
)
ORDER = tuple(chain.from_iterable(STAGES))
RAW = "MS"  # a mosaic is neither shown on a screen nor compressed


def compatible(label: str, present: Collection[str]) -> bool:
    """Return whether an image with the degradations `present` may have `label`, too."""
    if label not in ORDER or any(label in stage and set(stage) & set(present) for stage in STAGES):
        return False
    both = {label, *present}
    return RAW not in both or not both & {"MR", "J"}


def compose(
    image: Image, steps: Iterable[DegradationStep], *, without: Collection[str] = ()
) -> Image:
    """Degrade an image by steps, in the order in which they arise.

    Every step has a seed of its own. So `without` some degradations, the image is what it would
    have been if they had not happened: the target of a network that is asked to remove them.

    Args:
        image: (H, W, 3) float32 sRGB in [0, 1]; not modified.
        steps: Degradations, of ORDER.
        without: Labels of degradations that are left out.

    Returns:
        The degraded image in the shape of `image`; `image` itself where nothing is left.
    """
    for step in sorted(steps, key=lambda step: ORDER.index(step.degradation)):
        if step.degradation not in without:
            image = step(image).lq
    return image
