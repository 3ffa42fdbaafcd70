"""Models as functions of an image, with a description and a fingerprint, for benchmarks."""

from collections.abc import Callable
from typing import NamedTuple

from maskdcpt_cli.inference.backends import open_engine
from maskdcpt_cli.inference.events import Settings
from maskdcpt_cli.inference.restore import restore
from maskdcpt_cli.inference.result_log import fingerprint
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.synthesis.contract import Image

Restore = Callable[[Image], Image]  # from lq (H, W, 3) in [0, 1]; raises ImageError


class Restorer(NamedTuple):
    """A restoration function, its description, and a fingerprint that identifies its results."""

    restore: Restore
    description: str  # as "torch on cpu, fp32"
    fingerprint: str


def open_network(
    model: Backbone,
    *,
    device: str = "auto",
    precision: str = "fp32",
    backend: str = "auto",
    tile: int | None = None,
) -> Restorer:
    """Open a network; see open_engine. With a tile of None the memory decides.

    Raises BackendError for a device, precision or backend that is not available.
    """
    engine = open_engine(model, device=device, precision=precision, backend=backend)
    settings = Settings(tile=tile)

    def restored(lq: Image) -> Image:
        return restore(engine, lq, settings=settings)

    return Restorer(
        restored, engine.describe(), f"{fingerprint(model, settings)}-{engine.precision}"
    )


def identity() -> Restorer:
    """Return a model that leaves images unchanged: the baseline of the inputs."""
    return Restorer(lambda lq: lq, "the inputs as they are", "identity")
