"""A stand-in for the network of restore, and the command line."""

import io
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from maskdcpt_cli.cli import main
from maskdcpt_cli.errors import BackendError
from maskdcpt_cli.images.reader import PhotoReader
from maskdcpt_cli.inference.events import Advanced, Event, Job, Outcome, Settings, Started


class FakeBackend:
    """A stub for loading networks and restoring files, which records its calls."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome | BaseException] = {}  # by the name of the source
        self.jobs: list[Job] = []
        self.settings = Settings()
        self.existing = ""
        self.opened: dict[str, str] = {}
        self.model = ""
        self.closed = False
        self.requests: tuple[str, ...] = ()
        self.classifier: str | None = None

    def load_model(self, model: str) -> object:
        self.model = model
        return SimpleNamespace(request_types=len(self.requests), requests=self.requests)

    def load_classifier(self, classifier: str) -> object:
        return SimpleNamespace(network=SimpleNamespace(to=lambda _device: None), name=classifier)

    def open_engine(self, _model: object, *, device: str, precision: str, backend: str) -> object:
        if device == "mps":
            raise BackendError("There is no 'mps' here.")
        self.opened = {"device": device, "precision": precision, "backend": backend}
        return SimpleNamespace(describe=lambda: "torch on cpu, fp32", device=device)

    def restore_files(
        self,
        _engine: object,
        jobs: tuple[Job, ...],
        settings: Settings,
        *,
        existing: str,
        reader: PhotoReader,
        classifier: SimpleNamespace | None,
    ) -> Iterator[Event]:
        assert isinstance(reader, PhotoReader)
        self.classifier = classifier and classifier.name
        self.settings, self.existing = settings, existing
        try:
            for job in jobs:
                self.jobs.append(job)
                yield Started(job, 12)
                yield Advanced(job, 12)
                end = self.outcomes.get(job.source.name, Outcome(job, "restored", pixels=12))
                if isinstance(end, BaseException):
                    raise end
                yield replace(end, job=job)
        finally:
            self.closed = True

    def installed(self, monkeypatch: pytest.MonkeyPatch) -> "FakeBackend":
        """Take the place of the real ones."""
        monkeypatch.setattr("maskdcpt_cli.weights.zoo.load_model", self.load_model)
        monkeypatch.setattr("maskdcpt_cli.inference.removal.load_classifier", self.load_classifier)
        for module, names in {
            "maskdcpt_cli.inference.restore": {"restore_files": self.restore_files},
            "maskdcpt_cli.inference.backends": {"open_engine": self.open_engine},
        }.items():
            monkeypatch.setitem(sys.modules, module, SimpleNamespace(**names))
        return self


def invoke(*args: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(main, ["restore", *args], input=io.BytesIO(stdin))
