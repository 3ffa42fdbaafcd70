"""Networks of --model: weights, and exported networks."""

from typing import TYPE_CHECKING

from maskdcpt_cli.files import expanded
from maskdcpt_cli.inference.exporting.forms import form_of_file
from maskdcpt_cli.weights.zoo import ZOO

if TYPE_CHECKING:
    from maskdcpt_cli.inference.backends.exported import ExportedNetwork
    from maskdcpt_cli.models import Backbone


def load_network(name: str) -> "Backbone | ExportedNetwork":
    """Return the network of a name, a file of weights, or a file that `maskdcpt export` wrote.

    Raises MaskDCPTError where there is none, or it cannot be used.
    """
    from maskdcpt_cli.weights.zoo import load_model

    if not is_exported(name):
        return load_model(name)
    from maskdcpt_cli.inference.exporting.load import load_exported

    return load_exported(expanded(name))


def is_exported(name: str) -> bool:
    """Return whether the name is that of an exported file."""
    return name not in ZOO and form_of_file(expanded(name)) is not None
