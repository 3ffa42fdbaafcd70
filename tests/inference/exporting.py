"""Small networks that tests export."""

from collections.abc import Callable
from pathlib import Path

from maskdcpt_cli.models import Backbone
from tests.small import calm, two_blocks

TYPES = ("GN", "H", "J")
Exported = Callable[..., Path]  # of a network, a form and options


def few(name: str, **options: object) -> Backbone:
    return calm(name, **two_blocks(name), **options)
