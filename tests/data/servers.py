"""A web server of parts of files, with faults on request."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server(ThreadingHTTPServer):
    """Serve the files of a folder, and count requests."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.requests: list[str] = []  # paths, in order
        self.connections = 0
        self.faults: list[str] = []  # of the next answers
        self.always = ""  # fault of all others
        self.stops_after: int | None = None  # requests; later ones get no answer
        self.authorised: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def index(self) -> str:
        return f"{self.url}/index.json"

    def process_request(self, request, client_address) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request, client_address) -> None:
        pass  # clients that were killed


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        server.requests.append(self.path)
        server.authorised.append(self.headers["Authorization"])
        fault = server.faults.pop(0) if server.faults else server.always
        if server.stops_after is not None and len(server.requests) > server.stops_after:
            fault = "hangs"
        if fault == "gone":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if fault.isdigit():
            self._answer(int(fault), b"")
            return
        if fault.startswith("to "):
            self._answer(302, b"moved", Location=fault[3:] + self.path)
            return
        path = server.folder / self.path.partition("?")[0].rpartition("/")[2]
        if not path.is_file():
            self._answer(404, b"")
            return
        data = path.read_bytes()
        requested = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not requested or fault == "whole":
            self._answer(200, data, fault)
            return
        start, end = int(requested[1]), min(int(requested[2]), len(data) - 1)
        if start >= len(data):
            self._answer(416, b"")
            return
        part = data[start : end + 1]
        self._answer(206, part, fault, **{"Content-Range": f"bytes {start}-{end}/{len(data)}"})

    def _answer(self, status: int, data: bytes, fault: str = "", **headers: str) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if fault == "hangs":
            self.connection.settimeout(30)
            self.connection.recv(1)  # until the client leaves
        self.wfile.write(data[: len(data) // 2] if fault == "truncated" else data)
        self.close_connection = bool(fault)


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve a folder on this machine."""
    with Server(folder) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield server
        server.shutdown()
