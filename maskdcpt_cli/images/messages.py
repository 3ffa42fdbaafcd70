"""Messages between a process and its workers, through pipes."""

import pickle
import struct
from collections.abc import Callable
from io import FileIO
from typing import Any, NamedTuple

# The bytes of the pickle and the number of buffers; then the bytes of each buffer, the pickle and
# the buffers.
HEAD = struct.Struct("<QI")
LENGTH = struct.Struct("<Q")


class Request(NamedTuple):
    """A function to call."""

    folder: str  # the current one, for relative paths
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]


class FileBegun(NamedTuple):
    """The file that is read from now on."""

    name: str


class Returned(NamedTuple):
    """The result of a function."""

    result: Any


class Raised(NamedTuple):
    """The error of a function."""

    error: Exception
    traceback: str


def send(stream: FileIO, content: Request | FileBegun | Returned | Raised) -> None:
    """Send a message; its arrays are sent as they are in memory."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(content, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    lengths = b"".join(LENGTH.pack(view.nbytes) for view in views)
    _write(stream, memoryview(HEAD.pack(len(data), len(views)) + lengths + data))
    for view in views:
        _write(stream, view)


def receive(stream: FileIO) -> Any:
    """Return the next message; raise EOFError where the stream ends."""
    size, count = HEAD.unpack(_read(stream, HEAD.size))
    lengths = [LENGTH.unpack(_read(stream, LENGTH.size))[0] for _ in range(count)]
    data = _read(stream, size)
    return pickle.loads(data, buffers=[_read(stream, length) for length in lengths])


def _write(stream: FileIO, data: memoryview) -> None:
    while data:
        data = data[stream.write(data) :]


def _read(stream: FileIO, length: int) -> memoryview:
    place = memoryview(bytearray(length))
    filled = 0
    while filled < length:
        count = stream.readinto(place[filled:])
        if not count:
            raise EOFError
        filled += count
    return place
