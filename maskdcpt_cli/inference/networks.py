"""A model as a study sees it: a function of a picture, and a few words on what it is."""

from collections.abc import Callable
from typing import NamedTuple

from maskdcpt_cli.inference.backends import open_engine
from maskdcpt_cli.inference.events import Settings
from maskdcpt_cli.inference.restore import restore
from maskdcpt_cli.inference.result_log import fingerprint
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.synthesis.contract import Image

Restore = Callable[[Image], Image]  # from lq (H, W, 3) in [0, 1]; raises ImageError


class Network(NamedTuple):
    """What restores, what it is, and what tells its results from those of others."""

    restore: Restore
    told: str  # as "torch on cpu, fp32"
    fingerprint: str


def open_network(
    model: Backbone,
    *,
    device: str = "auto",
    precision: str = "fp32",
    backend: str = "auto",
    tile: int | None = None,
) -> Network:
    """Make a network ready; see open_engine. A tile of None takes a picture whole, memory allowing.

    Raises BackendError for what is not available here.
    """
    engine = open_engine(model, device=device, precision=precision, backend=backend)
    settings = Settings(tile=tile)

    def restored(lq: Image) -> Image:
        return restore(engine, lq, settings=settings)

    return Network(
        restored, engine.describe(), f"{fingerprint(model, settings)}-{engine.precision}"
    )


def identity() -> Network:
    """The model that leaves pictures as they are, and so shows how bad the inputs are."""
    return Network(lambda lq: lq, "the inputs as they are", "identity")
