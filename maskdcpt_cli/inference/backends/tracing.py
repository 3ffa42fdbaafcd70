"""Recording of a network as a TorchScript graph."""

import warnings

import torch
from torch import Tensor, nn


def trace(network: nn.Module, inputs: tuple[Tensor, ...]) -> torch.jit.ScriptModule:
    """Return the graph of the operations of a network on some inputs."""
    with torch.no_grad(), warnings.catch_warnings():
        # Tracing is deprecated, but OpenVINO reads no other form; it warns of sizes that it fixes.
        warnings.simplefilter("ignore")
        traced: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call]
            network.eval(), inputs, check_trace=False
        )
    return traced
