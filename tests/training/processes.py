"""Programs under torchrun."""

import ast
import subprocess
import sys
from typing import Any


def torchrun(program: str, *arguments: str, processes: int) -> list[Any]:
    """Run a module in some processes, and return what they print, a literal a line."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [sys.executable, *launch, "-m", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return [ast.literal_eval(line) for line in done.stdout.splitlines()]
