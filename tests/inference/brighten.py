"""A network that brightens, and the photos that tests restore with it."""

from typing import ClassVar

import numpy as np

from maskdcpt_cli.inference.events import Job, Outcome, Settings
from maskdcpt_cli.inference.restore import restore_files
from maskdcpt_cli.models.backbone import pad_by_reflection
from maskdcpt_cli.weights.building import DegradationClassifier
from tests.small import small


class Brighten:
    """An engine that halves the distance to white, and keeps what it was given."""

    backend, device, precision, size_multiple = "torch", "cpu", "fp32", 8
    model = small("nafnet")
    pad = staticmethod(pad_by_reflection)
    bytes_per_pixel = 100
    notices: ClassVar[list[str]] = []

    def record(self, _tiles, _boxes):
        return lambda lq, _box: self(lq)

    def __init__(self, *, half=None):
        self.seen, self.half = [], half

    def __call__(self, lq):
        self.seen.append(lq)
        return lq + 0.5 * (1 - lq)

    def with_request(self, _request):
        return self

    def in_fp32(self):
        return self

    def peak_bytes(self, tile):
        return 100 * tile**2


KNOWN = ("GN", "H", "J")


def askable(*requests):
    """A small request-conditioned network for three types of these names."""
    model = small("nafnet-instruct")
    model.requests = requests
    return model


def classifier(**options):
    return DegradationClassifier(small("nafnet"), (*KNOWN, "MR", "clean"), **options)


class Askable(Brighten):
    """Brightens, and keeps what it was asked for."""

    def __init__(self):
        super().__init__()
        self.model = askable(*KNOWN)
        self.requests = []

    def with_request(self, request):
        self.requests.append(None if request is None else request.tolist()[0])
        return self


TILED = Settings(tile=64, overlap=8)


def ramp(*shape, dtype=np.uint8):
    peak = 1.0 if dtype == np.float32 else np.iinfo(dtype).max
    values = np.linspace(0.1, 0.9, int(np.prod(shape))).reshape(shape)
    return (values * peak).astype(dtype)


def jobs_of(folder, out):
    return [Job(path, out / path.name) for path in sorted(folder.iterdir())]


def outcomes_of(engine, jobs, settings=TILED, **options):
    events = restore_files(engine, jobs, settings, **options)
    return [event for event in events if isinstance(event, Outcome)]
