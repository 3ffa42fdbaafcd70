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
    seen = []

    def train(_preset, folder):
        seen.append(folder.parent)
        yield from (Step(i, 5, {}, None, 1e-3, 2, 1.0, 0.0, 10**9, 0) for i in range(1, 6))

    (tmp_path / "run").mkdir()
    for run_dir in (tmp_path / "not" / "there", tmp_path / "run"):
        list(dry_run(load_preset("finetune", "tiny"), train, run_dir=run_dir))
    assert set(seen) == {tmp_path}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert not list((tmp_path / "run").iterdir())


def test_a_dry_run_trains_in_the_folder_of_the_run_where_nothing_may_be_beside_it(
    tmp_path, monkeypatch
):
    seen = []

    def train(_preset, folder):
        seen.append(folder.parent)
        yield from (Step(i, 5, {}, None, 1e-3, 2, 1.0, 0.0, 10**9, 0) for i in range(1, 6))

    monkeypatch.setattr("maskdcpt_cli.training.dry_run.os.access", lambda *_: False)
    list(dry_run(load_preset("finetune", "tiny"), train, run_dir=tmp_path))
    assert set(seen) == {tmp_path}
