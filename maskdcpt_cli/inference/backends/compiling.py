"""Networks compiled for the sizes of tiles that come often."""

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maskdcpt_cli.out_of_memory import is_out_of_memory

Run = Callable[..., Any]
Compiler = Callable[[nn.Module], Run]

CACHE = "TORCHINDUCTOR_CACHE_DIR"  # an environment variable
COMPILED_SIZES = 4  # PyTorch keeps eight graphs of a function


class CompiledWhereOften:
    """Runs a network as it is, and compiled for the sizes of tiles that come often.

    Compiled kernels round otherwise: a pixel of 8 bits may differ by 1. Where the compiler fails,
    the network runs as it is.
    """

    def __init__(
        self, network: nn.Module, compiler: Compiler, *, after: int, notices: list[str]
    ) -> None:
        self.network = network
        self.notices = notices  # messages for the user, a sentence each, are added to it
        self._compiler: Compiler | None = compiler
        self._after = after
        self._pixels: Counter[torch.Size] = Counter()
        self._compiled: dict[torch.Size, Run] = {}

    def __call__(self, lq: Tensor, *rest: Tensor) -> Any:
        """Run the network on lq (B, 3, h, w) and further inputs."""
        size = lq.shape
        if size in self._compiled:
            return self._compiled[size](lq, *rest)
        if self._compiler and self._pixels[size] >= self._after:
            return self._compile(self._compiler, lq, *rest)
        self._pixels[size] += lq.shape[0] * lq.shape[-2] * lq.shape[-1]
        return self.network(lq, *rest)

    def _compile(self, compiler: Compiler, lq: Tensor, *rest: Tensor) -> Any:
        height, width = lq.shape[-2:]
        began = time.perf_counter()
        run = compiler(self.network)
        try:
            result = run(lq, *rest)  # which compiles
        except Exception as error:  # of the compilers below PyTorch, of any type
            if is_out_of_memory(error):
                raise
            self._compiler = None
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.notices.append(
                f"PyTorch could not compile the network ({reason}); it ran as it is."
            )
            return self.network(lq, *rest)
        self._compiled[lq.shape] = run
        if len(self._compiled) == COMPILED_SIZES:
            self._compiler = None
        seconds = time.perf_counter() - began
        self.notices.append(
            f"PyTorch compiled the network for {width}x{height} pixels in {seconds:.0f} s, "
            f"and keeps it in '{os.environ.get(CACHE)}'."
        )
        return result


def compile_by_pytorch(network: nn.Module) -> Run:
    """Return the network compiled for one size; what is compiled is kept for later runs."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault(CACHE, str(cache / "maskdcpt" / "compiled"))
    run: Run = torch.compile(network, dynamic=False, fullgraph=True)
    return run
