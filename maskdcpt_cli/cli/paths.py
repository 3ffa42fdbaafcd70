"""Paths on the command line: their types, and files that may not be replaced."""

import os
from collections.abc import Sequence
from pathlib import Path

import click

from maskdcpt_cli.files import shown


class NewPath(click.Path):
    """A path that is not empty, as that of a variable of the shell that is not set."""

    def __init__(self, *, dir_okay: bool = True, file_okay: bool = True) -> None:
        super().__init__(path_type=Path, dir_okay=dir_okay, file_okay=file_okay)

    def convert(
        self,
        value: "str | os.PathLike[str]",
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> "str | bytes | os.PathLike[str]":
        if not os.fspath(value):
            self.fail("the name is empty.", param, ctx)
        return super().convert(value, param, ctx)


FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)  # to read
FILE = NewPath(dir_okay=False)
NEW_FOLDER = NewPath(file_okay=False)


def refuse_existing(
    *paths: Path | None, overwrite: bool, inputs: Sequence[Path | None] = ()
) -> None:
    """Raise UsageError if one of the files to write exists, unless it may be overwritten.

    One of the inputs may not be, whatever is said.
    """
    for path in paths:
        if path and path.exists() and any(one and _is_same(one, path) for one in inputs):
            raise click.UsageError(f"'{shown(path)}' is an input: name another file to write.")
        if path and path.exists() and not overwrite:
            raise click.UsageError(
                f"'{shown(path)}' exists: name another file, or type --overwrite."
            )


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # the name of a model
        return False
