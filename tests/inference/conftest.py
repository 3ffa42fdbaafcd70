"""Photos to restore, and an image to cut into tiles."""

import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.inference.brighten import ramp


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, size in enumerate([(80, 100), (24, 24), (140, 66)]):
        Image.fromarray(ramp(*size, 3)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def image() -> Tensor:
    return torch.rand(3, 200, 150, generator=torch.Generator().manual_seed(0))
