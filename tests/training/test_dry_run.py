"""Estimates of a run."""

from maskdcpt_cli.presets.training import load_preset
from maskdcpt_cli.training.dry_run import dry_run
from maskdcpt_cli.training.events import Step


def test_a_dry_run_of_a_process_that_writes_no_weights_tells_what_it_knows():
    def train(_preset, _folder):
        for iteration in range(1, 6):
            yield Step(iteration, 5, {}, None, 1e-3, 2, 1.0, 0.0, 10**9, 0)

    preset = load_preset("finetune", "tiny")
    estimates = list(dry_run(preset, train))
    assert {(one.disk, one.weights) for one in estimates} == {(0, 0)}
