"""Shards on web servers and in object stores: any part of a file, by one request."""

import io
import re
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.data.shards import http_parts
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import shown

WAITS = (0.0, 1.0, 4.0, 16.0)  # seconds before each further attempt
STORES = {"s3": "s3fs", "gs": "gcsfs"}  # packages of the schemes that fsspec opens
HUB = re.compile(r"hf://datasets/(?P<repo>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?/(?P<path>.+)")


class RemoteFiles:
    """The files beside an index at an address.

    An attempt that fails is repeated, but for files that are not there. What cannot be read then
    ends the run, as another sample in its place would make it another run.
    """

    packed_at = 0  # unknown

    def __init__(self, index: str, *, name: str) -> None:
        """Take the address of an index; `name` is the part of it that other files replace."""
        self._token: str | None = None
        if index.startswith("hf:"):
            index, self._token = _on_the_hub(index)
        self._before, _, self._after = index.rpartition(name)

    def shown(self, name: str) -> str:
        """Return the address of a file without its query, which may be secret, to be printed."""
        return shown(urlsplit(self._url(name))._replace(query="", fragment="").geturl())

    def whole(self, name: str) -> bytes:
        """Read a file; raise MaskDCPTError if it cannot be read."""
        return self._read(name)

    def array(self, name: str) -> NDArray[Any]:
        """Read the array of a file; raise MaskDCPTError, and what NumPy raises for others."""
        array: NDArray[Any] = np.load(io.BytesIO(self._read(name)))
        return array

    def check(self, name: str, least: int) -> None:
        """Leave a shard to its first sample: thousands of requests would come before training."""

    def read(self, name: str, start: int, size: int) -> bytes:
        """Read a part of a shard; raise MaskDCPTError if it cannot be read."""
        return self._read(name, start, size)

    def _url(self, name: str) -> str:
        return f"{self._before}{name}{self._after}"

    def _read(self, name: str, *part: int) -> bytes:
        url = self._url(name)
        if urlsplit(url).scheme in STORES:
            read = partial(_read_store, url, *part)
        else:
            read = partial(http_parts.read, url, *part, token=self._token)
        try:
            return _repeated(read)
        except http_parts.Refused as error:
            raise MaskDCPTError(
                f"{self.shown(name)} cannot be read: {shown(str(error))}."
            ) from error
        except OSError as error:
            raise MaskDCPTError(
                f"{self.shown(name)} cannot be read after {len(WAITS) + 1} attempts: "
                f"{shown(str(error.strerror or error))}."
            ) from error


def _repeated(read: Callable[[], bytes]) -> bytes:
    for wait in WAITS:
        try:
            return read()
        except OSError:
            time.sleep(wait)
    return read()


def _on_the_hub(address: str) -> tuple[str, str | None]:
    """Return the https address of a file in a data set on the Hugging Face Hub, and the token."""
    found = HUB.fullmatch(address)
    if not found:
        raise MaskDCPTError(
            f"{shown(address)} is not read: an address on the Hugging Face Hub is "
            "hf://datasets/OWNER/NAME/PATH, or hf://datasets/OWNER/NAME@REVISION/PATH."
        )
    hub = import_module("huggingface_hub")
    revision = found["revision"] or "main"
    url = f"{hub.constants.ENDPOINT}/datasets/{found['repo']}/resolve/{revision}/{found['path']}"
    return url, hub.get_token()


def _read_store(url: str, start: int = 0, size: int | None = None) -> bytes:
    """Read a part of a file in an object store, with the credentials that its package finds."""
    try:
        system, path = import_module("fsspec.core").url_to_fs(url)
        end = None if size is None else start + size
        data: bytes = system.cat_file(path, start=start, end=end)
    except ImportError as error:
        package = STORES[urlsplit(url).scheme]
        raise http_parts.Refused(f"it needs {package}: pip install {package}") from error
    except (FileNotFoundError, PermissionError) as error:
        raise http_parts.Refused(str(error)) from error
    except OSError:
        raise
    except Exception as error:  # each package has errors of its own
        raise OSError(str(error)) from error
    if size is not None and len(data) < size:
        raise http_parts.Refused("it is cut short")
    return data
