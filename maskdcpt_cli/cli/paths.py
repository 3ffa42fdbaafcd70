"""Types of paths on the command line."""

import os
from pathlib import Path

import click


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
