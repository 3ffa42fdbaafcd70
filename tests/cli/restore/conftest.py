"""The stand-in for the network, installed, and photos."""

from pathlib import Path

import pytest
from PIL import Image

from tests.cli.restore.fakes import FakeBackend


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
    return FakeBackend().installed(monkeypatch)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three photos below `in` of the working folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (4, 3), (90, 120, 60)).save(folder / name)
    return folder
