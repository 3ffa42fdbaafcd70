"""How this process was started: alone, by torchrun, or by srun; without torch."""

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

FIRST_PORT, PORTS = 10_000, 20_000  # below the ports that systems give to clients


class Launch(NamedTuple):
    """This process among those that were started together."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0  # among the processes of this machine
    by: str = ""  # "torchrun", "srun", or "" for a process of its own


def launched(environ: Mapping[str, str] = os.environ) -> Launch:
    """Return how this process was started, by its environment variables.

    Those of torchrun come first, as torchrun itself may be started by srun. Slurm also sets some of
    its variables for the batch script, which is one process: only those of a step count.
    """
    if "WORLD_SIZE" in environ:
        rank, size, local = (
            int(environ.get(name, default))
            for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
        )
        return Launch(rank, size, local, "torchrun")
    if "SLURM_PROCID" in environ and "SLURM_STEP_ID" in environ:
        size = int(environ.get("SLURM_STEP_NUM_TASKS", environ.get("SLURM_NTASKS", "1")))
        local = int(environ.get("SLURM_LOCALID", "0"))
        return Launch(int(environ["SLURM_PROCID"]), size, local, "srun")
    return Launch()


def restarts() -> int:
    """Return how often torchrun restarted this process, after one of the processes had failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def meeting_point(environ: Mapping[str, str] = os.environ) -> tuple[str, int]:
    """Return the host and the port where the processes meet.

    MASTER_ADDR and MASTER_PORT, which torchrun sets; in a job of Slurm without them the first node
    of the step, and a port that follows from the numbers of the job and the step.
    """
    nodes = environ.get("SLURM_STEP_NODELIST", environ.get("SLURM_JOB_NODELIST", "localhost"))
    job = int(environ.get("SLURM_JOB_ID", "0")) + int(environ.get("SLURM_STEP_ID", "0"))
    host = environ.get("MASTER_ADDR") or first_host(nodes)
    return host, int(environ.get("MASTER_PORT") or FIRST_PORT + job % PORTS)


def first_host(nodes: str) -> str:
    """Return the first of the hosts of a list of Slurm, as gpu01 of "gpu[01-04,07],cpu3"."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes)
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", first[0]) if first else nodes
