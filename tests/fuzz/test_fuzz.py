"""Changed files give a result or one sentence; `python -m tests.fuzz` tries many more."""

import subprocess
import sys

import pytest

from tests.fuzz.targets import TARGETS

NAMES = list(TARGETS)


@pytest.mark.parametrize("names", [NAMES[:5], NAMES[5:]], ids=["images", "others"])
def test_changed_files_give_a_result_or_one_sentence(names: list[str]) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--inputs", str(34 * len(names))]
    for name in names:
        command += ["--target", name]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
