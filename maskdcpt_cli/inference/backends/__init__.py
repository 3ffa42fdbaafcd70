"""Where a network runs: one door, `open_engine`, before PyTorch, OpenVINO and ONNX Runtime."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import torch

from maskdcpt_cli.errors import BackendError, unknown
from maskdcpt_cli.inference.backends.engine import Engine
from maskdcpt_cli.models import Backbone

__all__ = ["BACKENDS", "PRECISIONS", "Engine", "find_device", "open_engine"]


@dataclass(frozen=True)
class Backend:
    """Where an engine's class lies, and the packages that the extra brings which it needs."""

    module: str
    engine: str
    packages: tuple[str, ...] = ()
    extra: str | None = None

    @property
    def installed(self) -> bool:
        return all(find_spec(package) for package in self.packages)

    def load(self) -> type[Engine]:
        module = import_module(f"{__name__}.{self.module}")
        engine: type[Engine] = getattr(module, self.engine)
        return engine


BACKENDS = {
    "torch": Backend("pytorch", "TorchEngine"),
    "openvino": Backend("openvino", "OpenVINOEngine", ("openvino",), "openvino"),
    "onnx": Backend("onnx", "ONNXEngine", ("onnx", "onnxruntime"), "onnx"),
}
PRECISIONS = ("fp32", "bf16", "fp16")
DEVICES: dict[str, Callable[[], bool]] = {
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
    "cpu": lambda: True,
}


def open_engine(
    model: Backbone, *, device: str = "auto", precision: str = "auto", backend: str = "auto"
) -> Engine:
    """Makes a network ready to run, in a copy of its own.

    `auto` takes a GPU before the CPU; on the CPU OpenVINO where it is installed; and the precision
    that the hardware is fast in and that stays within 50 dB of fp32. Raises BackendError for what
    does not exist or is not available here.
    """
    device = find_device(device)
    if backend == "auto":
        backend = "openvino" if device == "cpu" and BACKENDS["openvino"].installed else "torch"
    if backend not in BACKENDS:
        raise BackendError(unknown("backend", backend, ["auto", *BACKENDS]))
    chosen = BACKENDS[backend]
    if not chosen.installed:
        raise BackendError(
            f"The backend '{backend}' is not installed: pip install 'maskdcpt[{chosen.extra}]'."
        )
    if backend != "torch" and device != "cpu":
        raise BackendError(
            f"The backend '{backend}' runs on the CPU, not on '{device}': "
            "use --device cpu or --backend torch."
        )
    engine = chosen.load()
    precision = _precision(precision, engine, device)
    return engine(model, device=device, precision=precision)


def find_device(name: str) -> str:
    """The first device there is for `auto`; otherwise the one named, or BackendError."""
    if name == "auto":
        return next(kind for kind, available in DEVICES.items() if available())
    kind, colon, index = name.partition(":")
    if kind not in DEVICES or (colon and not (kind == "cuda" and index.isdecimal())):
        raise BackendError(unknown("device", name, ["auto", "cpu", "cuda", "cuda:N", "mps"]))
    if not DEVICES[kind]():
        raise BackendError(f"The device '{name}' is not available here: use --device auto or cpu.")
    if index and int(index) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise BackendError(f"There is no device '{name}': the last one is 'cuda:{last}'.")
    return name


def _precision(name: str, engine: type[Engine], device: str) -> str:
    if name == "auto":
        return engine.fast_precision(device)
    if name not in PRECISIONS:
        raise BackendError(unknown("precision", name, ["auto", *PRECISIONS]))
    possible = engine.precisions if device == "cpu" else PRECISIONS
    if name not in possible:
        raise BackendError(
            f"The backend '{engine.backend}' does not run in {name} on '{device}': "
            f"choose from: {', '.join(('auto', *possible))}."
        )
    return name
