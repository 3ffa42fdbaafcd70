"""Inference backends: PyTorch, OpenVINO and ONNX Runtime, opened by `open_engine`."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import torch

from maskdcpt_cli.errors import BackendError, unknown
from maskdcpt_cli.inference.backends.engine import BackboneEngine, Engine
from maskdcpt_cli.inference.backends.exported import ExportedEngine, ExportedNetwork
from maskdcpt_cli.models import Backbone

__all__ = ["BACKENDS", "PRECISIONS", "Engine", "find_device", "open_engine"]


@dataclass(frozen=True)
class Backend:
    """The module and class of an engine, and the packages and the extra that it needs."""

    module: str
    engine: str
    packages: tuple[str, ...] = ()
    extra: str | None = None

    @property
    def installed(self) -> bool:
        return all(find_spec(package) for package in self.packages)

    def load(self) -> type[BackboneEngine]:
        module = import_module(f"{__name__}.{self.module}")
        engine: type[BackboneEngine] = getattr(module, self.engine)
        return engine


BACKENDS = {
    "torch": Backend("pytorch", "TorchEngine"),
    "openvino": Backend("openvino", "OpenVINOEngine", ("openvino",), "openvino"),
    "onnx": Backend("onnx", "ONNXEngine", ("onnx", "onnxruntime"), "onnx"),
}
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")  # of CUDA; MPS has no TF32
DEVICES: dict[str, Callable[[], bool]] = {
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
    "cpu": lambda: True,
}


def open_engine(
    model: Backbone | ExportedNetwork,
    *,
    device: str = "auto",
    precision: str = "auto",
    backend: str = "auto",
) -> Engine:
    """Prepare a copy of a network for inference.

    Args:
        model: The network, as `load_model` or `load_exported` returns it; it is left unchanged.
            An exported one runs on the CPU in fp32, by the backend of its form.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps"; "auto" prefers a GPU to the CPU, where
            the backend is PyTorch.
        precision: "auto", "fp32", "tf32" (CUDA only: fp32 whose products keep 10 bits), "bf16" or
            "fp16"; "auto" is the fastest one of the hardware whose output is within 50 dB of fp32.
        backend: "auto", "torch", "openvino" or "onnx"; "auto" is PyTorch, or that of the form of
            an exported network.

    Returns:
        The engine: called with float32 (B, 3, H, W) in [0, 1] of any size, it returns the restored
        images, of the same size and not clipped, on the device where they came from.

    Raises:
        BackendError: The device, precision or backend does not exist or is not available.
    """
    if isinstance(model, ExportedNetwork):
        return _open_exported(model, device=device, precision=precision, backend=backend)
    if backend == "auto":
        backend = "torch"
    if backend not in BACKENDS:
        raise BackendError(unknown("backend", backend, ["auto", *BACKENDS]))
    if device == "auto" and backend != "torch":
        device = "cpu"
    device = find_device(device)
    chosen = check_installed(backend)
    if backend != "torch" and device != "cpu":
        raise BackendError(
            f"The backend '{backend}' runs on the CPU, not on '{device}': "
            "use --device cpu or --backend torch."
        )
    engine = chosen.load()
    precision = _precision(precision, engine, device)
    return engine(model, device=device, precision=precision)


def check_installed(backend: str) -> Backend:
    """Return a backend by its name; BackendError where it is not installed."""
    chosen = BACKENDS[backend]
    if not chosen.installed:
        raise BackendError(
            f"The backend '{backend}' is not installed: pip install 'maskdcpt[{chosen.extra}]'."
        )
    return chosen


def _open_exported(
    model: ExportedNetwork, *, device: str, precision: str, backend: str
) -> ExportedEngine:
    """Prepare an exported network, whose file says how it runs."""
    engine = ExportedEngine(model)
    for name, given, own in (
        ("device", device, engine.device),
        ("precision", precision, engine.precision),
        ("backend", backend, engine.backend),
    ):
        if given not in ("auto", own):
            raise BackendError(
                f"An exported network of this form runs by {name} '{own}', not '{given}': "
                f"use --{name} auto, or the weights that it was exported from."
            )
    return engine


def find_device(name: str) -> str:
    """Return the first available device for `auto`, else the named one; or raise BackendError."""
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


def _precision(name: str, engine: type[BackboneEngine], device: str) -> str:
    if name == "auto":
        return engine.fast_precision(device)
    if name not in PRECISIONS:
        raise BackendError(unknown("precision", name, ["auto", *PRECISIONS]))
    possible = {"cpu": engine.precisions, "mps": tuple(p for p in PRECISIONS if p != "tf32")}.get(
        device, PRECISIONS
    )
    if name not in possible:
        raise BackendError(
            f"The backend '{engine.backend}' does not run in {name} on '{device}': "
            f"choose from: {', '.join(('auto', *possible))}."
        )
    return name
