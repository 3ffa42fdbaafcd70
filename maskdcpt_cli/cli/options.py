"""Options that several commands share, their values and completions."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click
from click.shell_completion import CompletionItem
from click.types import StringParamType

from maskdcpt_cli.cli.completions import any_of, complete_data_preset, several_of
from maskdcpt_cli.cli.paths import FILE, FOLDER, NEW_FOLDER
from maskdcpt_cli.errors import MAX_JOBS, MaskDCPTError
from maskdcpt_cli.files import shown
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.inference.events import LEAST_TILE
from maskdcpt_cli.models.options import ARCHITECTURES
from maskdcpt_cli.scoring.metrics import METRICS
from maskdcpt_cli.scoring.protocols import DEFAULT as DEFAULT_PROTOCOL
from maskdcpt_cli.scoring.protocols import PROTOCOLS

if TYPE_CHECKING:
    from maskdcpt_cli.weights.zoo import Use

Command = TypeVar("Command", bound=Callable[..., Any])
MEGA = 1_000_000
MAX_DIGITS = 12
DEVICES = ["auto", "cpu", "cuda", "mps"]


# Quoted here and below: only since click 8.5 can it be subscripted.


class Decorator(Protocol):
    """Decorator that adds an option to a command."""

    def __call__(self, command: Command, /) -> Command: ...


def add_options(options: Sequence[Decorator]) -> Decorator:
    """Return the decorator that adds options to a command, in their order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


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


class Number(click.FloatRange):
    """A number in a range, which NaN is not."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{number} is not in the range {self._describe_range()}.", param, ctx)
        return number


def whole_number(
    words: Mapping[str, int | None], *, unit: int = 1, least: int = 1
) -> Callable[[click.Context, click.Parameter, str], int | None]:
    """Return a callback that reads a whole number of `unit`, from `least`, or one of the words."""

    def read(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
        if value in words:
            return words[value]
        if re.fullmatch(r"0*[1-9][0-9]*", value) and len(value) <= MAX_DIGITS:
            if int(value) < least:
                raise click.BadParameter(f"{value} is too small: the least is {least}.", ctx, param)
            return int(value) * unit
        if value.isdecimal() and len(value) > MAX_DIGITS:
            raise click.BadParameter(
                f"{value[:MAX_DIGITS]}... has {len(value)} digits; take a smaller one.", ctx, param
            )
        raise click.BadParameter(
            f"'{value}' is neither {' nor '.join(words)} nor a whole number above 0.", ctx, param
        )

    return read


def known_device(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Check the name of a device."""
    if re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", value):
        return value
    raise click.BadParameter(
        f"'{value}' is none of auto, cpu, cuda, cuda:N (as cuda:1) and mps.", ctx, param
    )


def split_names(_ctx: click.Context, _param: click.Parameter, text: str | None) -> tuple[str, ...]:
    """Split names at commas, each once."""
    names = [word.strip() for word in (text or "").split(",")]
    return tuple(dict.fromkeys(name for name in names if name))


def model_option(use: "Use", default: str | None, *, shown: str = "") -> Decorator:
    """Return --model, for the models of this use; `shown` says what it is without a default."""
    return click.option(
        "-m",
        "--model",
        default=default,
        show_default=True,
        metavar="NAME|FILE",
        type=ModelName(use),
        help="A name that `maskdcpt models` lists, or a file of weights."
        + (f"  [default: {shown}]" if shown else ""),
    )


def _device_option(default: str, text: str) -> Decorator:
    return click.option(
        "--device",
        default=default,
        show_default=True,
        metavar="auto|cpu|cuda[:N]|mps",
        callback=known_device,
        shell_complete=any_of(DEVICES),
        help=text,
    )


device_option: Decorator = _device_option("auto", "Device of the network.")
metric_device_option: Decorator = _device_option("cpu", "Device of metrics with a network.")


def precision_option(*, default: str, remark: str = "") -> Decorator:
    """Return --precision."""
    return click.option(
        "--precision",
        default=default,
        show_default=True,
        type=click.Choice(["auto", "fp32", "tf32", "bf16", "fp16"]),
        help=f"Number format of the network{remark}.",
    )


backend_option: Decorator = click.option(
    "--backend",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "torch", "openvino", "onnx"]),
    help="Library that runs the network.",
)
# None is by the memory available, 0 is off.
tile_option: Decorator = click.option(
    "--tile",
    default="auto",
    show_default=True,
    metavar="auto|off|N",
    callback=whole_number({"auto": None, "off": 0}, least=LEAST_TILE),
    shell_complete=any_of(["auto", "off"]),
    help="Side in pixels of the tiles in which a large image is restored.",
)
recursive_option: Decorator = click.option(
    "--recursive/--no-recursive",
    default=True,
    show_default=True,
    help="Include the folders below an input folder.",
)
# In pixels; None is no limit.
max_pixels_option: Decorator = click.option(
    "--max-pixels",
    default=str(MAX_PIXELS // MEGA),
    show_default=True,
    metavar="off|N",
    callback=whole_number({"off": None}, unit=MEGA),
    shell_complete=any_of(["off"]),
    help="Refuse images of more than N megapixels.",
)
architecture_option: Decorator = click.option(
    "--architecture",
    type=click.Choice(ARCHITECTURES),
    help="Architecture of the network (Table XI).  [default: the preset's]",
)
quiet_option: Decorator = click.option("-q", "--quiet", is_flag=True, help="Print only failures.")


def json_option(content: str) -> Decorator:
    """Return --json, which prints `content` as JSON."""
    return click.option("--json", is_flag=True, help=f"Print {content} as JSON, and nothing else.")


def overwrite_option(content: str) -> Decorator:
    """Return --overwrite, which replaces `content`; see refuse_existing."""
    return click.option("--overwrite", is_flag=True, help=f"Replace {content} if it exists.")


def jobs_option(content: str, *, default: str = "one per processor") -> Decorator:
    """Return --jobs, the number of `content` at a time."""
    return click.option(
        "--jobs",
        metavar="N",
        type=click.IntRange(1, MAX_JOBS),
        help=f"{content} at a time.  [default: {default}]",
    )


def output_folder_option(content: str, *, default: str = "") -> Decorator:
    """Return --output, a folder of `content`; required if it has no default."""
    return click.option(
        "-o",
        "--output",
        required=not default,
        metavar="OUT",
        type=NEW_FOLDER,
        help=f"Folder of {content}." + (f"  [default: {default}]" if default else ""),
    )


def csv_option(content: str) -> Decorator:
    """Return --csv, a file of `content`."""
    return click.option("--csv", metavar="FILE", type=FILE, help=f"Write {content} as CSV.")


def data_preset_option(use: str, *, required: bool = False) -> Decorator:
    """Return --data-preset; --preset is its former name, which is that of a training preset."""
    return click.option(
        "--data-preset",
        "--preset",
        "preset",
        required=required,
        metavar="NAME|FILE",
        shell_complete=complete_data_preset,
        help=f"Data preset {use}: a name that `maskdcpt presets` lists under data, or a file of "
        "this form.",
    )


def _data_root_option(preset: str, folder: click.Path) -> Decorator:
    return click.option(
        "--data-root",
        metavar="FOLDER",
        type=folder,
        help=f"Folder of the data sets of {preset}.  [default: $MASKDCPT_DATA]",
    )


data_root_option: Decorator = _data_root_option("--data-preset", NEW_FOLDER)
training_data_root_option: Decorator = _data_root_option("the preset", FOLDER)


def pairs_option(text: str, *, multiple: bool = False) -> Decorator:
    """Return --pairs, two folders of images with the same names."""
    return click.option(
        "--pairs",
        multiple=multiple,
        nargs=2,
        metavar="LQ GT",
        type=FOLDER,
        help=f"{text}: two folders of images with the same names.",
    )


def photos_option(text: str, *, multiple: bool = False) -> Decorator:
    """Return --photos, a folder of clean photos."""
    return click.option("--photos", multiple=multiple, metavar="FOLDER", type=FOLDER, help=text)


def metrics_option(text: str, *, default: str | None = None) -> Decorator:
    """Return --metrics, pyiqa's names."""
    return click.option(
        "--metrics",
        default=default,
        show_default=default is not None,
        metavar="NAME,...",
        callback=split_names,
        shell_complete=several_of(lambda: METRICS),
        help=text,
    )


protocol_option: Decorator = click.option(
    "--protocol",
    default=DEFAULT_PROTOCOL.name,
    show_default=True,
    type=click.Choice(list(PROTOCOLS)),
    help="Definition of PSNR and SSIM; it is printed with the result.",
)
pair_by_option: Decorator = click.option(
    "--pair-by",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "path", "stem", "prefix"]),
    help="How a ground truth is found. auto: by the path in the folder, then by the name; prefix: "
    "by the beginning of the name, as 1400.png for 1400_3.png.",
)


def ending_in(
    *suffixes: str,
) -> Callable[[click.Context, click.Parameter, Path | None], Path | None]:
    """Return the callback of an option whose file must end in one of the suffixes.

    A photo that follows an option by mistake is then not taken for the file to write.
    """

    def check(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
        if path is None or path.suffix.lower() in suffixes:
            return path
        raise click.BadParameter(
            f"'{shown(path)}' must end in {', '.join(suffixes)}.", context, parameter
        )

    return check


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn the errors of the library within into errors of usage, which have exit code 2."""
    try:
        yield
    except MaskDCPTError as error:
        raise click.UsageError(str(error)) from error
