"""Models as functions of an image, with a description and a fingerprint, for benchmarks."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from maskdcpt_cli.degradations import CLEAN, slug
from maskdcpt_cli.inference.backends import Engine, open_engine
from maskdcpt_cli.inference.backends.exported import ExportedNetwork
from maskdcpt_cli.inference.events import Settings
from maskdcpt_cli.inference.removal import default_classifier, scale_varies
from maskdcpt_cli.inference.restore import restore
from maskdcpt_cli.inference.result_log import fingerprint
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.synthesis.contract import Image

Restore = Callable[[Image], Image]  # from lq (H, W, 3) in [0, 1]; raises ImageError


@dataclass(frozen=True)
class NetworkRestore:
    """A network as a function of an image, asked for all that it can remove."""

    engine: Engine
    settings: Settings

    def __call__(self, lq: Image) -> Image:
        return restore(self.engine, lq, settings=self.settings)

    def removing(self, degradation: str | None) -> "NetworkRestore":
        """Return the network with the request of a degradation, or of the parts of a mixture.

        For clean images the request is empty; it is of everything if the network knows none of
        the parts or takes no request.
        """
        name = degradation or ""
        if name == CLEAN and self.engine.model.requests:
            return replace(self, settings=replace(self.settings, remove=()))
        parts = {*name.split("+"), *slug(name).split("+")}
        known = tuple(
            one for one in self.engine.model.requests if one in parts or slug(one) in parts
        )
        if name in known:
            known = (name,)
        return replace(self, settings=replace(self.settings, remove=known or "all"))


class Restorer(NamedTuple):
    """A restoration function, its description, and a fingerprint that identifies its results."""

    restore: Restore
    description: str  # as "torch on cpu, fp32"
    fingerprint: str


def open_network(
    model: Backbone | ExportedNetwork,
    *,
    device: str = "auto",
    precision: str = "fp32",
    backend: str = "auto",
    tile: int | None = None,
) -> Restorer:
    """Open a network; see open_engine. With a tile of None the memory decides.

    Its function is a `NetworkRestore`.
    Raises BackendError for a device, precision or backend that is not available.
    """
    engine = open_engine(model, device=device, precision=precision, backend=backend)
    settings = Settings(tile=tile, remove="all")
    decides = default_classifier(engine.device) if scale_varies(engine.model.requests) else None
    return Restorer(
        NetworkRestore(engine, settings),
        engine.describe(),
        f"{fingerprint(model, settings, decides)}-{engine.precision}",
    )


def identity() -> Restorer:
    """Return a model that leaves images unchanged: the baseline of the inputs."""
    return Restorer(lambda lq: lq, "the inputs as they are", "identity")
