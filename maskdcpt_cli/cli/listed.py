"""Inputs that a user lists: names on standard input, and patterns."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click


def with_listed(inputs: Sequence[str]) -> list[str]:
    """Return the inputs, with `-` replaced by the names on standard input.

    They are one per line, or separated as by `find -print0`. Raises UsageError for a pattern that
    is not valid.
    """
    if "" in inputs:
        raise click.UsageError("An empty name is given: name a file or a folder, as '.'.")
    paths = [path for text in inputs for path in (_listed() if text == "-" else [text])]
    for path in paths:
        wrong = [part for part in Path(path).parts if "**" in part and part != "**"]
        if wrong and not os.path.lexists(path):
            raise click.UsageError(
                f"'{path}': ** stands for folders, as in '**/{wrong[0].replace('**', '*')}'."
            )
    return paths


def _listed() -> list[str]:
    if sys.stdin is None:  # closed, as of a service
        raise click.UsageError("'-' stands for names on standard input, which is closed.")
    text = sys.stdin.buffer.read()
    names = text.split(b"\0") if b"\0" in text else text.splitlines()
    try:
        return [os.fsdecode(name) for name in names if name]
    except UnicodeDecodeError as error:  # on Windows alone
        raise click.UsageError(
            f"The names on standard input are not UTF-8: {error}; type 'chcp 65001' before."
        ) from error
