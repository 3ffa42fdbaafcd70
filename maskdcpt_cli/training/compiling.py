"""torch.compile of the model in training."""

import torch
from torch import nn

from maskdcpt_cli.presets.training import Training


def compile_model(model: nn.Module, training: Training) -> None:
    """Let the forward pass of a model compile when it is first called with a shape.

    It compiles once for each stage of the run whose batches have another shape; a mask is an input
    like the image, so its shape alone matters. Validation is not compiled.
    """
    dynamo = torch._dynamo.config
    # Beyond the limit PyTorch would go on without compiling. Each stage may need one more shape,
    # for a last micro-batch that is smaller.
    dynamo.cache_size_limit = max(dynamo.cache_size_limit, 2 * len(training.stages))
    if training.checkpointing:
        # DDP's splitting of the graph, which overlaps the exchange, does not take checkpoints.
        dynamo.optimize_ddp = False
    model.compile(dynamic=False)
