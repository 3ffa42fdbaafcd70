import pytest
import torch

from maskdcpt_cli.training.events import Step, Validated
from tests.training.processes import torchrun
from tests.training.runs import (
    ENTRIES,
    SHARED,
    SHARED_POISON,
    Poisoned,
    pretraining,
    started,
    state,
)


@pytest.mark.torchrun
def test_two_ranks_train_as_one_does_and_stop_and_resume_together(tmp_path):
    """Rank 1 requests to stop and has the batch with a NaN, which both skip."""
    lines = torchrun("tests.training.runs", str(tmp_path / "two"), processes=2)
    preset = pretraining(**SHARED)
    alone = list(
        started(preset, tmp_path / "one", data=Poisoned(SHARED_POISON), validation=ENTRIES)
    )

    for rank in "01":
        own_lines = [line for line in lines if line[1] == rank]
        progress = [line[2:] for line in own_lines if not isinstance(line[2], dict)]
        assert progress == [(e.iteration, e.skipped) for e in alone if isinstance(e, Step)]
        assert [line[0] for line in own_lines] == ["begun"] * 5 + ["resumed"] * 3
        scores = [line[2] for line in own_lines if isinstance(line[2], dict)]
        for one, other in zip(scores, (e for e in alone if isinstance(e, Validated)), strict=True):
            assert one.keys() == other.scores.keys()
            for degradation, of_one in one.items():
                assert of_one == pytest.approx(other.scores[degradation], rel=1e-3)
    one, two = state(tmp_path / "one"), state(tmp_path / "two")
    assert two["skipped"] == one["skipped"] == 1
    for name, tensor in one["model"].items():
        assert torch.allclose(tensor, two["model"][name], atol=1e-4), name
    assert [file.name for file in (tmp_path / "two" / "skipped").iterdir()] == ["3-1.pt"]
