"""Checkpoints of small networks."""

import pytest

from maskdcpt_cli.weights.checkpoint import Checkpoint
from tests.weights.filled import OPTIONS, filled


@pytest.fixture(params=OPTIONS)
def small(request: pytest.FixtureRequest) -> Checkpoint:
    return filled(request.param)


@pytest.fixture
def nafnet() -> Checkpoint:
    return filled("nafnet")
