"""Parts of files on web servers, over connections that stay open."""

import os
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from http.client import (
    HTTP_PORT,
    HTTPConnection,
    HTTPException,
    HTTPResponse,
    HTTPSConnection,
    InvalidURL,
)
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

TIMEOUT = 20.0  # seconds without a byte
SLOWEST = 50_000  # bytes a second at least, after the first TIMEOUT
MAX_WHOLE = 2**32  # bytes of a file that is read whole
PIECE = 2**18
RESERVED = "%/:?#[]@!$&'()*+,;=~"  # characters of an address that stand for themselves
REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 5
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class Refused(Exception):
    """What another attempt would not change."""


def read(url: str, start: int = 0, size: int | None = None, *, token: str | None = None) -> bytes:
    """Read a file, or `size` bytes of it; the server of the address alone is sent the token.

    Raises OSError where another attempt may succeed, and Refused where none will.
    """
    try:
        server = urlsplit(url)[:2]
        for _ in range(MAX_REDIRECTS + 1):
            answer = _answer(url, start, size, token if urlsplit(url)[:2] == server else None)
            if isinstance(answer, bytes):
                return answer
            url = urljoin(url, answer)
    except (InvalidURL, ValueError) as error:  # a ValueError, too: a certificate that is not valid
        raise Refused(str(error)) from error
    except HTTPException as error:
        raise OSError(str(error) or type(error).__name__) from error
    except TimeoutError as error:
        raise OSError(f"no answer within {TIMEOUT:.0f} seconds") from error
    raise Refused("it is redirected too often")


def _answer(url: str, start: int, size: int | None, token: str | None) -> bytes | str:
    """Return the bytes, or the address that the server redirects to."""
    at = urlsplit(url)
    if at.scheme not in ("http", "https") or not at.hostname:
        raise Refused("it is redirected elsewhere than to http or https")
    headers = {"Accept-Encoding": "identity"}
    headers |= {} if size is None else {"Range": f"bytes={start}-{start + size - 1}"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    path = at._replace(scheme="", netloc="", fragment="").geturl() or "/"
    connection = _connection(at.scheme, at.netloc, os.getpid(), threading.get_ident())
    with _closed_if_failing(connection):
        connection.request("GET", quote(path, safe=RESERVED), headers=headers)
        response = connection.getresponse()
        if response.status in REDIRECTS:
            if response.length is None or response.length > PIECE:
                connection.close()
            response.read()
            return response.headers.get("Location", "")
        return _body(response, start, size)


@contextmanager
def _closed_if_failing(connection: HTTPConnection) -> Iterator[None]:
    """Close a connection after an error; its next request opens it again."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


@lru_cache(32)
def _connection(scheme: str, host: str, _process: int, _thread: int) -> HTTPConnection:
    """Return the connection of a thread to a host: of none that a process was forked from."""
    connect = HTTPSConnection if scheme == "https" else HTTPConnection
    proxy = "" if proxy_bypass(host) else getproxies().get(scheme, "")
    if not proxy:
        return connect(host, timeout=TIMEOUT)
    at = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    connection = connect(at.hostname or "", at.port or HTTP_PORT, timeout=TIMEOUT)
    connection.set_tunnel(host, headers=_authorization(at))
    return connection


def _authorization(proxy: SplitResult) -> dict[str, str]:
    """Return the header with the name and password of a proxy's address."""
    if proxy.username is None:
        return {}
    words = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(words.encode()).decode()}"}


def _body(response: HTTPResponse, start: int, size: int | None) -> bytes:
    status = response.status
    if status in TRANSIENT:
        raise OSError(f"the server answers {status} {response.reason}")
    if status == 416:
        raise Refused("it is cut short")
    if status not in (200, 206):
        raise Refused(f"the server answers {status} {response.reason}")
    if size is None:
        return _received(response, response.length)
    if status == 200:
        raise Refused("the server sends whole files alone (it ignores the header Range)")
    if not response.headers.get("Content-Range", "").startswith(
        f"bytes {start}-{start + size - 1}/"
    ):
        raise Refused("it is cut short")
    return _received(response, size)


def _received(response: HTTPResponse, size: int | None) -> bytes:
    """Return the body, of a known size if there is one."""
    data = bytearray()
    began = time.monotonic()
    while piece := response.read1(PIECE):
        data += piece
        if time.monotonic() - began > TIMEOUT + len(data) / SLOWEST:
            raise OSError(f"the server is too slow: {len(data)} bytes in {TIMEOUT:.0f} seconds")
        if len(data) > (MAX_WHOLE if size is None else size):
            raise Refused("it is larger than it should be")
    if size is not None and len(data) < size:
        raise OSError(f"the answer ends after {len(data)} of {size} bytes")
    response.close()
    return bytes(data)
