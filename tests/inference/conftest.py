"""Photos to restore, what is found in them, and an image to cut into tiles."""

from functools import cache
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from maskdcpt_cli.inference import removal as removal_module
from maskdcpt_cli.inference.classify import Found
from maskdcpt_cli.inference.exporting.export import export_model
from maskdcpt_cli.inference.exporting.forms import FORMS
from tests.inference.brighten import classifier, ramp
from tests.inference.exporting import TYPES, Exported, few
from tests.inference.test_backends import needs


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, size in enumerate([(80, 100), (24, 24), (140, 66)]):
        Image.fromarray(ramp(*size, 3)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def finds(monkeypatch):
    """A function that sets what is found, for all photos or by the width of a page."""
    answers = {}

    def find(classifier, page, colour, *, orientation):
        found = answers["found"]
        labels = found if isinstance(found, tuple) else found[page.pixels.shape[1]]
        return Found(dict.fromkeys(labels, 0.9), labels)

    monkeypatch.setattr(removal_module, "find_degradations", find)
    monkeypatch.setattr(removal_module, "default_classifier", lambda _device: classifier())
    return lambda found: answers.update(found=found)


@pytest.fixture
def image() -> Tensor:
    return torch.rand(3, 200, 150, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Return a function that exports a network with few blocks, once for all tests."""

    @cache
    def once(name: str, form: str, **options: object) -> Path:
        needs(FORMS[form].backend)
        path = tmp_path_factory.mktemp(name) / f"network{FORMS[form].suffixes[0]}"
        model = few(name, **options)
        model.requests = TYPES[: model.request_types]
        assert all(parity.psnr > 100 for parity in export_model(model, path))
        return path

    return once
