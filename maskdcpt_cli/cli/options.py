"""Kinds of values on the command line, and how a shell completes them."""

import re
from collections.abc import Callable, Iterable, Mapping

import click
from click.shell_completion import CompletionItem
from click.types import StringParamType

# Quoted here and below: only since click 8.5 can it be subscripted.
Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem[str]]"]


class ModelName(StringParamType):
    """The name of a model, or the path of a file of weights."""

    def shell_complete(
        self, _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem[str]]":
        from maskdcpt_cli.zoo import ZOO

        names = [
            CompletionItem(name, help=model.summary)
            for name, model in ZOO.items()
            if name.startswith(incomplete)
        ]
        return names or [CompletionItem(incomplete, type="file")]


def preset_names(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> "list[CompletionItem[str]]":
    """Complete to a data preset, or a file like one."""
    from maskdcpt_cli.presets import names

    found = [CompletionItem(name) for name in names("data") if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


def known_device(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Check the name of a device."""
    if re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", value):
        return value
    raise click.BadParameter(
        f"'{value}' is none of auto, cpu, cuda, cuda:N (as cuda:1) and mps.", ctx, param
    )


def whole_number(
    words: Mapping[str, int | None], *, unit: int = 1
) -> Callable[[click.Context, click.Parameter, str], int | None]:
    """Read a whole number of `unit`, or one of the words that stand for something else."""

    def read(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
        if value in words:
            return words[value]
        if re.fullmatch(r"0*[1-9][0-9]*", value):
            return int(value) * unit
        raise click.BadParameter(
            f"'{value}' is neither {' nor '.join(words)} nor a whole number above 0.", ctx, param
        )

    return read


def any_of(words: Iterable[str]) -> Complete:
    """Complete to one of these words."""

    def complete(
        _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem[str]]":
        return [CompletionItem(word) for word in words if word.startswith(incomplete)]

    return complete
