"""Commands that are killed, and disks that are full; `python -m tests.faults` tries more."""

import subprocess
import sys


def test_a_second_run_completes_a_killed_one_and_a_full_disk_keeps_the_files_of_before() -> None:
    command = [sys.executable, "-m", "tests.faults", "--kills", "14", "--full-disk", "16000"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
