"""A stand-in for the network of classify, and the command line."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from maskdcpt_cli.cli import main
from maskdcpt_cli.degradations import CLEAN, removable
from maskdcpt_cli.errors import CheckpointError
from maskdcpt_cli.images.reader import PhotoReader
from maskdcpt_cli.inference import classify as classify_module
from maskdcpt_cli.inference.classify import Classified
from maskdcpt_cli.weights.building import DegradationClassifier

LABELS = ("GN", "MB+LL+GN", "H", CLEAN)
NOISE = {"GN": 0.931, "H": 0.052, "MB+LL+GN": 0.016, CLEAN: 0.001}
UNSURE = {"H": 0.4312, "GN": 0.3, CLEAN: 0.2, "MB+LL+GN": 0.0688}
SOUND = {CLEAN: 0.8, "H": 0.1, "GN": 0.06, "MB+LL+GN": 0.04}


class FakeClassifier:
    """A stub for loading and running the classifier, which records its calls."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, float] | BaseException | str] = {}  # by name
        self.model = self.device = ""
        self.options: dict[str, object] = {}
        self.paths: list[Path] = []
        self.temperature: float | None = 1.5
        self.labels = LABELS
        self.multi_label = False
        self.thresholds: dict[str, float] = {}

    def load_classifier(self, model: str) -> object:
        if model == "tiny":
            raise CheckpointError("tiny holds no classifier.")
        self.model = model
        network = SimpleNamespace(to=lambda device: setattr(self, "device", device))
        return DegradationClassifier(
            network,
            self.labels,
            self.temperature,
            multi_label=self.multi_label,
            thresholds=self.thresholds,
        )

    def classify_files(
        self, _classifier: object, paths: list[Path], **options: object
    ) -> Iterator[Classified]:
        assert isinstance(options.pop("reader"), PhotoReader)
        self.options = options
        for path in paths:
            self.paths.append(path)
            found = self.found.get(path.name, NOISE)
            if isinstance(found, BaseException):
                raise found
            failed = isinstance(found, str)
            if failed:
                yield Classified(path, {}, found)
                continue
            likely = [label for label in found if found[label] > self.thresholds.get(label, 0.5)]
            labels = removable(likely)
            yield Classified(path, found, labels=labels, multi_label=self.multi_label)

    def installed(self, monkeypatch: pytest.MonkeyPatch) -> "FakeClassifier":
        """Take the place of the real ones."""
        monkeypatch.setattr(classify_module, "classify_files", self.classify_files)
        monkeypatch.setattr("maskdcpt_cli.inference.removal.load_classifier", self.load_classifier)
        return self


def invoke(*args: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, ["classify", *args], input=stdin)
