"""Names in tables to which plugins may add, after the options are defined."""

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from maskdcpt_cli.degradations import slugs


class NameIn(click.Choice):  # type: ignore[type-arg]  # only since click 8.4 it can be
    """A name in a table, which is read when the option is used."""

    def __init__(self, table: Callable[[], Iterable[str]]) -> None:
        super().__init__(())
        self._table = table

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(self._table())

    @choices.setter
    def choices(self, names: tuple[str, ...]) -> None:
        """Ignore the names that click sets."""


def complete_type(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> "list[CompletionItem[str]]":
    """Complete the name of a degradation."""
    return [CompletionItem(slug) for slug in slugs() if slug.startswith(incomplete)]
