"""All tests compute in one thread, and so do the programs they start.

Networks this small are slowed down by more, and the sums of convolutions depend on the number.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # torch reads it when it is imported

import pytest


@pytest.fixture
def narrow_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """PromptIR with an eighth of its prompts' channels, beside which all else of it is small."""
    from maskdcpt_cli.models import promptir

    narrow = {level: (channels // 8, size) for level, (channels, size) in promptir.PROMPTS.items()}
    monkeypatch.setattr(promptir, "PROMPTS", narrow)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("there is no GPU here")
