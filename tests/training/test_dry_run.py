"""Estimates of a run."""

from maskdcpt_cli.presets.training import load_preset
from maskdcpt_cli.training.dry_run import dry_run
from maskdcpt_cli.training.events import Step


def test_a_dry_run_of_a_process_that_writes_no_weights_tells_what_it_knows(tmp_path):
    def train(_preset, _folder):
        for iteration in range(1, 6):
            yield Step(iteration, 5, {}, None, 1e-3, 2, 1.0, 0.0, 10**9, 0)

    preset = load_preset("finetune", "tiny")
    estimates = list(dry_run(preset, train, run_dir=tmp_path))
    assert {(one.disk, one.weights) for one in estimates} == {(0, 0)}


def test_a_dry_run_trains_on_the_disk_of_the_run_and_leaves_nothing(tmp_path):
    run_dir = tmp_path / "not" / "there"
    seen = []

    def train(_preset, folder):
        seen.append(folder.parent)
        yield from (Step(i, 5, {}, None, 1e-3, 2, 1.0, 0.0, 10**9, 0) for i in range(1, 6))

    list(dry_run(load_preset("finetune", "tiny"), train, run_dir=run_dir))
    assert set(seen) == {tmp_path}
    assert not list(tmp_path.iterdir())
