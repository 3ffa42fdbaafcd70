"""Completions of the shell, and names in tables to which plugins may add."""

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from maskdcpt_cli.degradations import slugs

Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem[str]]"]


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


def any_of(words: Iterable[str]) -> Complete:
    """Return a completion of one of these words."""

    def complete(
        _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem[str]]":
        return [CompletionItem(word) for word in words if word.startswith(incomplete)]

    return complete


def several_of(words: Callable[[], Iterable[str]]) -> Complete:
    """Return a completion of the last of several words between commas, each once."""

    def complete(
        _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem[str]]":
        before, comma, last = incomplete.rpartition(",")
        return [
            CompletionItem(before + comma + word)
            for word in words()
            if word.startswith(last) and word not in before.split(",")
        ]

    return complete
