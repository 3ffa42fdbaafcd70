"""Weights that pyiqa fetches: out of reach they are named, and in their place they are used."""

import io
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyiqa.archs.brisque_arch as brisque
import pytest
import torch

from maskdcpt_cli.scoring import pyiqa_adapter
from maskdcpt_cli.scoring.metrics import METRICS
from maskdcpt_cli.scoring.protocols import DEFAULT
from maskdcpt_cli.scoring.pyiqa_adapter import open_metric
from maskdcpt_cli.scoring.scorer import Item, Scorer, Unavailable
from tests.scoring.pairs import photograph

FILE = "brisque_svm_weights.pth"
SUPPORT_VECTORS = 5


def random_weights() -> bytes:
    """BRISQUE's, as its file holds them."""
    file = io.BytesIO()
    torch.save((torch.rand(SUPPORT_VECTORS, 1), torch.rand(SUPPORT_VECTORS, 36)), file)
    return file.getvalue()


class Weights(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = self.path == f"/good/{FILE}"
        self.send_response(200 if found else 404)
        body = random_weights() if found else b""
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Be silent."""


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty place for pyiqa's weights."""
    monkeypatch.setattr("pyiqa.utils.download_util.DEFAULT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def served(cache, monkeypatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Weights)
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setitem(brisque.default_model_urls, "url", f"{address}/good/{FILE}")
    yield
    server.shutdown()
    server.server_close()


def unreachable(monkeypatch) -> str:
    """An address that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/{FILE}"
    monkeypatch.setitem(brisque.default_model_urls, "url", url)
    return url


def scored(names: list[str]) -> tuple[dict[str, float], tuple[Unavailable, ...]]:
    scorer = Scorer(names, with_gt=False, jobs=1)
    (one,) = scorer.score([Item("a", photograph(0, width=96, height=96))])
    return dict(one.values), scorer.unavailable


def test_out_of_reach_the_file_and_its_place_are_named_and_the_others_measured(cache, monkeypatch):
    url = unreachable(monkeypatch)
    values, (lacking,) = scored(["brisque", "piqe"])
    assert values.keys() == {"piqe"}
    assert lacking == (
        "brisque",
        "brisque needs weights that could not be downloaded (Connection refused): download "
        f"{url} and save it as {cache / FILE}.",
    )


def test_a_file_that_is_put_in_the_named_place_is_used(cache, monkeypatch):
    unreachable(monkeypatch)
    cache.mkdir()
    (cache / FILE).write_bytes(random_weights())
    values, lacking = scored(["brisque", "piqe"])
    assert values.keys() == {"brisque", "piqe"}
    assert lacking == ()


def test_weights_are_fetched_once_and_nothing_is_printed(served, cache, capfd, monkeypatch):
    for _ in range(2):
        values, lacking = scored(["brisque"])
        assert values.keys() == {"brisque"}
        assert lacking == ()
        unreachable(monkeypatch)
    assert (cache / FILE).is_file()
    assert capfd.readouterr() == ("", "")


def test_a_server_without_the_file_is_reported(served, cache, monkeypatch):
    url = brisque.default_model_urls["url"].replace("good", "bad")
    monkeypatch.setitem(brisque.default_model_urls, "url", url)
    _, (lacking,) = scored(["brisque", "piqe"])
    assert "could not be downloaded (HTTP Error 404: Not Found): download http" in lacking.reason
    assert not (cache / FILE).exists()


def test_a_silent_server_stalls_nothing(cache, monkeypatch):
    monkeypatch.setattr(pyiqa_adapter, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/{FILE}"
        monkeypatch.setitem(brisque.default_model_urls, "url", url)
        values, (lacking,) = scored(["brisque", "piqe"])
    assert values.keys() == {"piqe"}
    assert "could not be downloaded (timed out)" in lacking.reason
    assert socket.getdefaulttimeout() is None


def test_damaged_weights_are_reported(cache, monkeypatch):
    unreachable(monkeypatch)
    cache.mkdir()
    (cache / FILE).write_text("<html>Not found</html>")
    _, (lacking,) = scored(["brisque", "piqe"])
    assert lacking.reason.startswith("brisque cannot be opened: ")
    assert lacking.reason.endswith(".")


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if not metric.weights])
def test_a_metric_of_the_table_without_weights_opens(cache, name):
    assert not isinstance(open_metric(name, protocol=DEFAULT, device="cpu"), Unavailable)
    assert not cache.exists()
