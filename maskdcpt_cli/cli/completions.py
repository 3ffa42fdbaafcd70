"""Completions of the shell, and names in tables to which plugins may add."""

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from maskdcpt_cli.degradations import slugs

TRAINING = ("pretrain", "finetune")  # kinds of presets
KINDS = (*TRAINING, "data")

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


def complete_data_preset(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> "list[CompletionItem[str]]":
    """Complete to the name of a data preset, or to a file."""
    return _presets(["data"], incomplete)


def complete_preset(
    context: click.Context, _param: click.Parameter, incomplete: str
) -> "list[CompletionItem[str]]":
    """Complete to the name of a preset of this kind of training, or to a file."""
    kind = context.info_name
    return _presets([kind] if kind in TRAINING else TRAINING, incomplete)


def _presets(kinds: Iterable[str], incomplete: str) -> "list[CompletionItem[str]]":
    from maskdcpt_cli.presets.load import names

    known = dict.fromkeys(name for kind in kinds for name in names(kind))
    found = [CompletionItem(name) for name in known if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


def complete_kind_or_preset(
    context: click.Context, _param: click.Parameter, incomplete: str
) -> "list[CompletionItem[str]]":
    """Complete to a kind of presets, and after it, or in its place, to the name of one."""
    given = context.params.get("words") or ()
    if given:
        return _presets(given[:1], incomplete)
    kinds = [CompletionItem(kind) for kind in KINDS if kind.startswith(incomplete)]
    return kinds or _presets(KINDS, incomplete)
