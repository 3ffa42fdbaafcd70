"""Kinds of values on the command line, and how a shell completes them."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem
from click.types import StringParamType

if TYPE_CHECKING:
    from maskdcpt_cli.weights.zoo import Use

Command = TypeVar("Command", bound=Callable[..., Any])
MEGA = 1_000_000

# Quoted here and below: only since click 8.5 can it be subscripted.
Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem[str]]"]


class ModelName(StringParamType):
    """The name of a model, for one use or for any, or the path of a file of weights."""

    def __init__(self, use: "Use | None" = None) -> None:
        self.use = use

    def shell_complete(
        self, _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem[str]]":
        from maskdcpt_cli.weights.zoo import ZOO

        names = [
            CompletionItem(name, help=model.summary)
            for name, model in ZOO.items()
            if name.startswith(incomplete) and self.use in (None, model.use)
        ]
        return names or [CompletionItem(incomplete, type="file")]


def preset_names(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> "list[CompletionItem[str]]":
    """Complete to a data preset, or a file like one."""
    from maskdcpt_cli.presets.load import names

    found = [CompletionItem(name) for name in names("data") if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


def known_device(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Check the name of a device."""
    if re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", value):
        return value
    raise click.BadParameter(
        f"'{value}' is none of auto, cpu, cuda, cuda:N (as cuda:1) and mps.", ctx, param
    )


def model_option(use: "Use", default: str) -> Callable[[Command], Command]:
    """--model, of those that have this use."""
    return click.option(
        "-m",
        "--model",
        default=default,
        show_default=True,
        metavar="NAME|FILE",
        type=ModelName(use),
        help="A name that `maskdcpt models` lists, or a file of weights.",
    )


def device_option(command: Command) -> Command:
    """--device."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda[:N]|mps",
        callback=known_device,
        shell_complete=any_of(["auto", "cpu", "cuda", "mps"]),
        help="Where the network runs.",
    )(command)


def precision_option(*, default: str, remark: str = "") -> Callable[[Command], Command]:
    """--precision."""
    return click.option(
        "--precision",
        default=default,
        show_default=True,
        type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
        help=f"Numbers the network computes with{remark}.",
    )


def backend_option(command: Command) -> Command:
    """--backend."""
    return click.option(
        "--backend",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", "torch", "openvino", "onnx"]),
        help="Library that runs the network.",
    )(command)


def tile_option(command: Command) -> Command:
    """--tile: None leaves it to the memory there is, 0 is off."""
    return click.option(
        "--tile",
        default="auto",
        show_default=True,
        metavar="auto|off|N",
        callback=whole_number({"auto": None, "off": 0}),
        shell_complete=any_of(["auto", "off"]),
        help="Side of the squares that a large picture is restored in, in pixels.",
    )(command)


def recursive_option(command: Command) -> Command:
    """--recursive."""
    return click.option(
        "--recursive/--no-recursive",
        default=True,
        show_default=True,
        help="Take what lies in folders inside a folder, too.",
    )(command)


def max_pixels_option(command: Command) -> Command:
    """--max-pixels, in pixels; None for no limit."""
    return click.option(
        "--max-pixels",
        default="500",
        show_default=True,
        metavar="off|N",
        callback=whole_number({"off": None}, unit=MEGA),
        shell_complete=any_of(["off"]),
        help="Refuse photos of more than N megapixels.",
    )(command)


def with_listed(inputs: Sequence[str]) -> list[str]:
    """The inputs, in place of `-` the names on standard input: one a line, or as `find -print0`
    separates them."""
    return [path for text in inputs for path in (_listed() if text == "-" else [text])]


def _listed() -> list[str]:
    text = sys.stdin.buffer.read()
    names = text.split(b"\0") if b"\0" in text else text.splitlines()
    return [os.fsdecode(name) for name in names if name]


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
