"""ONNX Runtime on the CPU, the extra `onnx`."""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx  # noqa: F401  the exporter needs it, and would name itself rather than what to install
import onnxruntime
import torch
from torch import Tensor

from maskdcpt_cli.inference.backends.engine import Engine, Residual
from maskdcpt_cli.models import Backbone

OPSET = 17  # the first with LayerNormalization


class ONNXEngine(Engine):
    """The network exported in memory, for any number of images of any size."""

    backend = "onnx"
    precisions = ("fp32",)
    memory_factor = 3.4

    def __init__(self, model: Backbone, *, device: str, precision: str) -> None:
        super().__init__(model, device=device, precision=precision)
        options = onnxruntime.SessionOptions()
        # Without it the largest tile's memory is kept until the end.
        options.enable_cpu_mem_arena = False
        self._session = onnxruntime.InferenceSession(
            _export(Residual(model), side=8 * model.size_multiple),
            options,
            providers=["CPUExecutionProvider"],
        )

    def residual(self, padded: Tensor) -> Tensor:
        return torch.from_numpy(self._session.run(None, {"lq": padded.numpy()})[0])


def _export(network: Residual, *, side: int) -> bytes:
    """The network as an ONNX file.

    By tracing: torch.export takes 11 to 23 s for what tracing does in half a second.
    """
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing's deprecation, and of sizes it takes as fixed
        file = Path(folder, "network.onnx")
        torch.onnx.export(
            network.eval(),
            (torch.zeros(1, 3, side, side),),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=["lq"],
            dynamic_axes={"lq": {0: "batch", 2: "height", 3: "width"}},
        )
        return file.read_bytes()
