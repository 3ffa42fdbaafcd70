"""Opening of exported networks."""

from pathlib import Path

from pydantic import ValidationError

from maskdcpt_cli.errors import CheckpointError
from maskdcpt_cli.files import open_regular, shown
from maskdcpt_cli.inference.backends import check_installed
from maskdcpt_cli.inference.backends.exported import ExportedNetwork, ExportMetadata
from maskdcpt_cli.inference.exporting.forms import form_of_file

ADVICE = "Give a file that `maskdcpt export` wrote."


def load_exported(path: Path | str) -> ExportedNetwork:
    """Load a network that `maskdcpt export` wrote.

    Unlike weights, the file is a program: run only those that you trust.

    Args:
        path: A file that ends in .onnx, .xml (with its .bin beside it), .ts or .pt.

    Returns:
        The network, for `open_engine`, `restore` and `restore_folder`.

    Raises:
        CheckpointError: The file cannot be used.
        BackendError: The library that runs it is not installed.
    """
    path = Path(path)
    form = form_of_file(path)
    if form is None:
        raise CheckpointError(f"{shown(path)} is no exported network. {ADVICE}")
    check_installed(form.backend)
    for file in form.files(path):
        try:
            open_regular(file).close()
        except OSError as error:
            raise CheckpointError(f"{shown(file)} cannot be opened: {error.strerror}.") from error
    try:
        graph = form.module.open_graph(path)
    except Exception as error:  # each library raises its own
        raise CheckpointError(
            f"{shown(path)} is damaged, or no {form.title} file. {ADVICE}"
        ) from error
    if graph.metadata is None:
        raise CheckpointError(
            f"{shown(path)} is a network of another program: it has no metadata of maskdcpt. "
            f"{ADVICE}"
        )
    try:
        metadata = ExportMetadata.model_validate_json(graph.metadata)
    except ValidationError as error:
        raise CheckpointError(
            f"{shown(path)} has metadata that this version of maskdcpt does not read. {ADVICE}"
        ) from error
    return ExportedNetwork(graph, metadata)
