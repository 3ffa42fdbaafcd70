"""A killed command, run again, gives the same files; `python -m tests.faults` tries more."""

import subprocess
import sys


def test_commands_that_are_killed_and_run_again_give_the_same_files() -> None:
    command = [sys.executable, "-m", "tests.faults", "--kills", "21"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
