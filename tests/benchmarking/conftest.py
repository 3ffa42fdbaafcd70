"""Clean images and pairs of them, as a user has them."""

from pathlib import Path

import pytest

from tests.benchmarking.layouts import crops
from tests.datasets import degraded, save


@pytest.fixture
def clean(tmp_path) -> Path:
    folder = tmp_path / "clean"
    for number, crop in enumerate(crops(4)):
        save(folder / f"{number}.png", crop)
    return folder


@pytest.fixture
def pairs(tmp_path) -> tuple[Path, Path]:
    for number, crop in enumerate(crops(4)):
        save(tmp_path / "rain" / "gt" / f"{number}.png", crop)
        save(tmp_path / "rain" / "lq" / f"{number}.png", degraded(crop, "RS", seed=number))
    return tmp_path / "rain" / "lq", tmp_path / "rain" / "gt"
