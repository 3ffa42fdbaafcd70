import pytest

from maskdcpt_cli.models import maskdcpt
from tests.training.runs import small_classifier


@pytest.fixture(autouse=True)
def _small_decoders(monkeypatch):
    """The released classifier has 11 M parameters, which every checkpoint would hold."""
    monkeypatch.setattr(maskdcpt, "Classifier", small_classifier)
