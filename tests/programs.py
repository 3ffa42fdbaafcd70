"""Programs that tests start."""

import os
import socket
import subprocess
import sys


def unmeasured() -> dict[str, str]:
    """The environment of a program that is interrupted, which coverage does not measure.

    Where Ctrl-C meets its collector, a lock stays taken and the program hangs (coverage 7).
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def start_step(*arguments: str) -> list["subprocess.Popen[str]"]:
    """Start two processes as srun does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    job = {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2"}
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env={
                **os.environ, **job, **where, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank),
            },
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
