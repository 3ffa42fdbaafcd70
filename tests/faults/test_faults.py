"""Commands that are killed, and disks that are full; `python -m tests.faults` tries more."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("given", [("--kills", "20"), ("--full-disk", "4000")], ids=lambda g: g[0])
def test_nothing_is_lost(given: tuple[str, str]) -> None:
    command = [sys.executable, "-m", "tests.faults", *given]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
