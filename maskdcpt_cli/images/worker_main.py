"""The program of a worker process: call functions as its parent requests, until that ends."""

import os
import pickle
import signal
import traceback
from functools import partial
from io import FileIO

from PIL import Image

from maskdcpt_cli.images.heap import SMALL_PHOTOS, keep_freed_memory
from maskdcpt_cli.images.limits import FileLimits, limit_files
from maskdcpt_cli.images.messages import FileBegun, Raised, Request, Returned, receive, send


def main() -> None:
    """Serve the requests on standard input, one after another."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which stops this
    requests, answers = FileIO(os.dup(0), "rb"), FileIO(os.dup(1), "wb")
    for number in (0, 1):  # what decoders print is no answer
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit; --max-pixels is ours
    keep_freed_memory(SMALL_PHOTOS)
    limit_files(FileLimits(partial(report, answers)))
    while True:
        try:
            request: Request = receive(requests)
        except EOFError:
            return
        send(answers, _answer(request))


def report(answers: FileIO, name: str) -> None:
    """Report the file that is read from now on; SystemExit where the parent has ended.

    It is no error of the file: what is being written must not be finished without it.
    """
    try:
        send(answers, FileBegun(name))
    except OSError as error:
        raise SystemExit from error


def _answer(request: Request) -> Returned | Raised:
    try:
        if request.folder:
            os.chdir(request.folder)
        return Returned(request.function(*request.arguments, **request.options))
    except Exception as error:
        return Raised(_sendable(error), traceback.format_exc())


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of any type, as whatever it holds raises
        return RuntimeError(repr(error))
    return error
