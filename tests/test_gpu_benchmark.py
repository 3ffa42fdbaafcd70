"""The table of GPU figures: every row runs on a CPU, at small sizes."""

import time

import pytest
import torch
from click.testing import CliRunner

from benchmarks.gpu import command
from benchmarks.gpu.rows import Bench, Line, OutOfTime, Row, run_row, time_limit, timed

CPU = torch.device("cpu")


@pytest.mark.parametrize("row", command.ROWS, ids=lambda row: row.name)
def test_every_row_runs_on_a_cpu(row):
    lines = list(run_row(row, Bench(CPU, quick=True, seconds=300)))
    assert not [line for line in lines if line.figure.startswith(("failed", "stopped"))], lines
    assert not [line for line in lines if line.work.startswith("check") and not line.met]


def test_the_budgets_fit_into_eight_minutes():
    assert sum(row.seconds for row in command.ROWS) <= 480


def test_a_row_that_fails_and_one_that_is_slow_leave_the_others_their_lines(monkeypatch):
    def failing(_bench: Bench) -> list[Line]:
        raise ValueError("no such\nlayer")

    def slow(_bench: Bench) -> list[Line]:
        time.sleep(9)
        return []

    def quick(_bench: Bench) -> list[Line]:
        return [Line("work", "ours", "1 ms", 3.0, "3x", True)]

    rows = (Row("a", 5, failing), Row("b", 0.2, slow), Row("c", 5, quick))
    monkeypatch.setattr(command, "ROWS", rows)
    done = CliRunner().invoke(command.main, ["--device", "cpu", "--quick"])
    assert done.exit_code == 1
    assert "| a |  | failed: no such layer |" in done.stdout
    assert "| b |  | stopped after 0 s |" in done.stdout
    assert "| work | ours | 1 ms | 3.00x | 3x | yes |" in done.stdout


def test_what_does_not_fit_into_the_time_is_named():
    row = Row("late", 5, lambda _bench: [])
    (line,) = command.measure([row], device=CPU, quick=True, seconds=0)
    assert line.figure == "not run: no time left"


def test_a_limit_ends_with_its_context():
    with pytest.raises(OutOfTime), time_limit(0.05):
        time.sleep(5)
    time.sleep(0.1)


def test_cases_take_turns_after_a_first_call_each():
    calls: list[str] = []
    cases = {name: lambda name=name: calls.append(name) for name in "ab"}
    assert timed(cases, Bench(CPU, quick=True, seconds=9)).keys() == {"a", "b"}
    assert "".join(calls) == "abab"


@pytest.mark.gpu
def test_every_row_runs_on_a_gpu():
    done = CliRunner().invoke(command.main, ["--quick"])
    assert done.exit_code == 0, done.output
    stopped = [line for line in done.output.splitlines() if "stopped after" in line]
    assert all(line.startswith("| pass-") for line in stopped)  # while it compiled
