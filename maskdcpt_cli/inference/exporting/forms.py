"""The forms of exported networks, recognised by the suffix of a file; light to import."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from maskdcpt_cli.errors import MaskDCPTError, unknown
from maskdcpt_cli.files import shown
from maskdcpt_cli.weights.archives import holds_program

if TYPE_CHECKING:
    from maskdcpt_cli.inference.backends.exported import ExportedGraph
    from maskdcpt_cli.inference.exporting.graph import ExportableNetwork


class FormModule(Protocol):
    """The module of a form: how its files are written and opened."""

    def write(self, network: "ExportableNetwork", path: Path) -> None:
        """Write the files of a network."""

    def open_graph(self, path: Path) -> "ExportedGraph":
        """Open a file; any exception where it cannot be read."""


class Form(NamedTuple):
    """A form of exported networks: its files, and the backend that runs it."""

    name: str
    title: str
    suffixes: tuple[str, ...]  # the usual one first
    backend: str  # of BACKENDS
    beside: tuple[str, ...] = ()  # suffixes of files beside the one that is named

    @property
    def module(self) -> FormModule:
        package = __name__.rpartition(".")[0]
        return cast(FormModule, import_module(f"{package}.{self.name}"))

    def files(self, path: Path) -> tuple[Path, ...]:
        """Return all files of a network, the named one last."""
        return (*(path.with_suffix(suffix) for suffix in self.beside), path)


FORMS = {
    form.name: form
    for form in (
        Form("onnx", "ONNX", (".onnx",), "onnx"),
        Form("openvino", "OpenVINO", (".xml",), "openvino", (".bin",)),
        Form("torchscript", "TorchScript", (".ts", ".pt"), "torch"),
    )
}


def form_to_write(path: Path, name: str | None = None) -> Form:
    """Return the form of this name, or that of the suffix of a file.

    Raises MaskDCPTError where the suffix is not one of the form, or of any.
    """
    if name is not None and name not in FORMS:
        raise MaskDCPTError(unknown("form", name, FORMS))
    forms = [FORMS[name]] if name else list(FORMS.values())
    for form in forms:
        if path.suffix.lower() in form.suffixes:
            return form
    valid = ", ".join(f"{' or '.join(form.suffixes)} ({form.title})" for form in forms)
    raise MaskDCPTError(f"'{shown(path)}' ends in none of the suffixes of a form: {valid}.")


def form_of_file(path: Path) -> Form | None:
    """Return the form of an exported file; None for any other, as weights that end in .pt."""
    for form in FORMS.values():
        if path.suffix.lower() in form.suffixes:
            return form if form.name != "torchscript" or holds_program(path) else None
    return None
