"""The command line; light to import, because every TAB in a shell runs it."""

import errno
import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from maskdcpt_cli._version import __version__
from maskdcpt_cli.cli.benchmark.command import benchmark
from maskdcpt_cli.cli.classify import classify
from maskdcpt_cli.cli.compare import compare
from maskdcpt_cli.cli.data.command import data
from maskdcpt_cli.cli.degrade import degrade
from maskdcpt_cli.cli.export import export
from maskdcpt_cli.cli.finetune import finetune
from maskdcpt_cli.cli.models import models
from maskdcpt_cli.cli.options import usage_errors
from maskdcpt_cli.cli.presets import presets
from maskdcpt_cli.cli.pretrain import pretrain
from maskdcpt_cli.cli.restore import restore
from maskdcpt_cli.cli.score.command import score
from maskdcpt_cli.cli.stopping import INTERRUPTED
from maskdcpt_cli.cli.study.command import study
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import shown
from maskdcpt_cli.plugins import use_plugin

LACKS_LIBRARY = (
    "OpenCV is installed with its GUI, which needs a missing library ({}): "
    "pip uninstall -y opencv-python && "
    "pip install --force-reinstall --no-deps opencv-python-headless"
)


class Program(click.Group):
    """The program: turns errors into a sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        from maskdcpt_cli.images.heap import ACTIVATIONS, keep_freed_memory

        _silence_libraries()
        _print_everything()
        keep_freed_memory(ACTIVATIONS)
        _check_folder()
        try:
            with _terminable():
                return super().invoke(ctx)
        except MaskDCPTError as error:
            raise click.ClickException(_escaped(str(error))) from error
        except click.ClickException as error:
            error.message = _escaped(error.message)  # type: ignore[misc]  # final since click 8.4
            raise
        except KeyboardInterrupt as interrupt:
            click.echo(_escaped(str(interrupt)) or "Interrupted.", err=True)
            ctx.exit(INTERRUPTED)
        except OSError as error:
            if error.errno == errno.EPIPE:  # click ends quietly
                raise
            raise click.ClickException(_reason(error)) from error
        except ImportError as error:
            if error.name == "cv2" and not isinstance(error, ModuleNotFoundError):
                raise click.ClickException(LACKS_LIBRARY.format(error)) from error
            raise


def _check_folder() -> None:
    """Raise ClickException where the current folder was removed: no path can be resolved then."""
    try:
        Path.cwd()
    except OSError as error:
        raise click.ClickException(
            "The current folder is not there any more: cd to another one."
        ) from error


def _reason(error: OSError) -> str:
    """Return a sentence for what the system refuses: the file, and why."""
    place = f"{shown(Path(os.fsdecode(error.filename)))}: " if error.filename else ""
    return f"{place}{error.strerror or error}."


def _escaped(message: str) -> str:
    """Return a message, which may have several lines, with all else unprintable escaped."""
    return "\n".join(map(shown, message.split("\n")))


def _print_everything() -> None:
    """Escape what the terminal's encoding lacks, as in an ASCII or Latin-1 locale."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _silence_libraries() -> None:
    """Silence decoders about damaged files, for the errors are enough, and Matplotlib's cache."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    for library in ("tifffile", "matplotlib"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    for category in (UserWarning, RuntimeWarning):
        warnings.filterwarnings("ignore", category=category, module="PIL")


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM stop the program as cleanly as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _use_plugins(
    _context: click.Context, _parameter: click.Parameter, modules: tuple[str, ...]
) -> None:
    with usage_errors():
        for module in modules:
            use_plugin(module)


@click.group(name="maskdcpt", cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--plugin",
    multiple=True,
    metavar="MODULE",
    expose_value=False,
    callback=_use_plugins,
    help="Python module with backbones, degradations, losses and others of your own; may be "
    "repeated.",
)
@click.version_option(__version__, prog_name="maskdcpt", message="%(prog)s %(version)s")
def main() -> None:
    """Restore photos: haze, rain, noise, blur, low light, snow, JPEG, and their mixtures.

    \b
    maskdcpt restore photos/ -o restored/        restore a folder
    maskdcpt classify photos/                    classify the degradation of photos
    maskdcpt models                              list the models
    maskdcpt score restored/ clean/              measure PSNR, SSIM and others
    maskdcpt degrade photos/ -o pairs/ -t haze   make pairs to train with
    maskdcpt pretrain --preset tiny --photos photos/   train your own network
    maskdcpt COMMAND --help                      show the options of a command
    """


main.add_command(restore)
main.add_command(classify)
main.add_command(score)
main.add_command(degrade)
main.add_command(data)
main.add_command(models)
main.add_command(export)
main.add_command(pretrain)
main.add_command(finetune)
main.add_command(presets)
main.add_command(benchmark)
main.add_command(study)
main.add_command(compare)
