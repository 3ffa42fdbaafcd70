"""The stand-in for the network, installed, and photos."""

from pathlib import Path

import pytest
from PIL import Image

from tests.cli.classify.fakes import FakeClassifier


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeClassifier:
    return FakeClassifier().installed(monkeypatch)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three photos below `in` of the working folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "b.png", "sub/c.png"):
        Image.new("RGB", (4, 3), (90, 120, 60)).save(folder / name)
    return folder
