"""Every figure that a GPU should reach, against eager PyTorch in the same run.

python -m benchmarks.gpu
"""

from benchmarks.gpu.command import main

__all__ = ["main"]
