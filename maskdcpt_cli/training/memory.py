"""How much memory this process takes."""

import sys

import torch

if sys.platform != "win32":
    import resource


def most_bytes(device: torch.device) -> int:
    """The most memory that was ever in use: of the GPU, else of the process; 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024
