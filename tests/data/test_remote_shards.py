"""Shards at an address: the same samples as from disk, and errors that end."""

import json
import pickle
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from maskdcpt_cli.data.augment import Crop
from maskdcpt_cli.data.loading import load
from maskdcpt_cli.data.mixture import Mixture
from maskdcpt_cli.data.order import Batches, BatchStage
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.data.shards import http_parts, remote
from maskdcpt_cli.data.shards.index import ShardPairs
from maskdcpt_cli.errors import MaskDCPTError
from tests.data.packing import packed
from tests.data.servers import Server, serving

IMAGES = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return packed(tmp_path_factory.mktemp("data"), images=IMAGES)


@pytest.fixture
def server(folder, monkeypatch):
    monkeypatch.setattr(remote, "WAITS", (0.0, 0.01, 0.01))
    monkeypatch.setattr(http_parts, "TIMEOUT", 0.3)
    with serving(folder) as server:
        yield server


def same(one: ShardPairs, other: ShardPairs) -> None:
    assert len(one) == len(other)
    for index in range(len(other)):
        for crop in (Crop(0, 0, 16, 16), Crop(3, 2, 5, 7)):
            pair, expected = (
                pairs.read(index, lambda *_, crop=crop: crop) for pairs in (one, other)
            )
            assert pair.degradation == expected.degradation
            assert np.array_equal(pair.gt, expected.gt)
            assert np.array_equal(pair.lq, expected.lq)


def test_pairs_at_an_address_are_those_on_disk(server, folder):
    same(ShardPairs(server.index), ShardPairs(folder / "index.json"))
    assert server.connections <= 2


def test_no_more_than_the_rows_of_a_crop_is_sent(server, monkeypatch):
    pairs = ShardPairs(server.index)
    sizes = []
    received = http_parts._received

    def counted(response, size):
        sizes.append(response.length)
        return received(response, size)

    monkeypatch.setattr(http_parts, "_received", counted)
    pairs.read(0, lambda *_: Crop(3, 2, 5, 7))
    assert sizes == [5 * (6 + 3 * 16)] * 2


def test_pairs_go_to_other_processes(server):
    pairs = ShardPairs(server.index)
    before = len(server.requests)
    same(pickle.loads(pickle.dumps(pairs)), pairs)
    assert not [path for path in server.requests[before:] if "index" in path]


def test_samples_are_a_function_of_their_number_in_any_process(server, folder):
    batches = [
        [
            (batch.number.tolist(), batch.lq.numpy().tobytes())
            for batch in load(
                Mixture([ImageSet("some", ShardPairs(index))], labels=["H"], seed=5),
                Batches([BatchStage(4, 8, iterations=6)], first=first),
                workers=workers,
            )
        ]
        for index, first, workers in (
            (folder / "index.json", 0, 0),
            (server.index, 0, 2),
            (server.index, 2, 0),
        )
    ]
    assert batches[0] == batches[1]
    assert batches[0][2:] == batches[2]


@pytest.mark.parametrize("fault", ["gone", "503", "429", "truncated", "hangs"])
def test_a_fault_that_passes_is_not_noticed(server, folder, fault):
    server.faults = [fault] * 2
    pairs = ShardPairs(server.index)
    server.faults = [fault] * 2
    assert np.array_equal(pairs.read(3).gt, ShardPairs(folder / "index.json").read(3).gt)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("gone", "cannot be read after 4 attempts: Remote end closed connection"),
        ("503", "cannot be read after 4 attempts: the server answers 503 Service Unavailable"),
        ("truncated", r"cannot be read after 4 attempts: the answer ends after \d+ of \d+ bytes"),
        ("hangs", "cannot be read after 4 attempts: no answer within"),
        ("404", r"haze-\d+\.tar cannot be read: the server answers 404 Not Found"),
        ("403", "cannot be read: the server answers 403 Forbidden"),
        ("whole", "cannot be read: the server sends whole files alone"),
        ("to ftp://127.0.0.1", "redirected elsewhere than to http or https"),
        ("to http://[", "cannot be read: Invalid IPv6 URL"),
        ("to http://127.0.0.1:port", "cannot be read: nonnumeric port"),
        ("to ", "cannot be read: it is redirected too often"),
    ],
)
def test_a_fault_that_stays_is_one_sentence(server, fault, sentence):
    pairs = ShardPairs(server.index)
    server.always = fault
    with pytest.raises(MaskDCPTError, match=sentence) as caught:
        pairs.read(3)
    assert type(caught.value) is MaskDCPTError  # no ImageError, for which another sample would come
    assert server.url in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_fault_ends_loading_in_any_process(server, workers):
    mixture = Mixture([ImageSet("some", ShardPairs(server.index))], labels=["H"])
    server.always = "404"
    batches = load(mixture, Batches([BatchStage(2, 8, iterations=2)]), workers=workers)
    with pytest.raises(
        MaskDCPTError, match=rf"^{server.url}/\S+ cannot be read: .* 404 Not Found\.$"
    ):
        next(batches)


def test_a_server_that_is_gone_is_one_sentence(server):
    pairs = ShardPairs(server.index)
    server.shutdown()
    server.server_close()
    http_parts._connection.cache_clear()
    with pytest.raises(MaskDCPTError, match="after 4 attempts: Connection refused"):
        pairs.read(0)


def test_a_slow_server_is_given_up(server, monkeypatch):
    pairs = ShardPairs(server.index)
    monkeypatch.setattr(http_parts, "TIMEOUT", -1.0)
    monkeypatch.setattr(
        http_parts,
        "_connection",
        lambda *_: http_parts.HTTPConnection(server.url.removeprefix("http://"), timeout=5),
    )
    with pytest.raises(MaskDCPTError, match="the server is too slow"):
        pairs.read(0)


def test_a_shard_cut_short_is_reported(folder, tmp_path):
    out = shutil.copytree(folder, tmp_path / "out")
    for path in out.glob("*.tar"):
        path.write_bytes(path.read_bytes()[:900])
    with serving(out) as server:
        pairs = ShardPairs(server.index)
        with pytest.raises(MaskDCPTError, match=r"\.tar cannot be read: it is cut short"):
            pairs.read(0)


def test_other_files_than_an_index_are_reported(folder, tmp_path):
    out = shutil.copytree(folder, tmp_path / "out")
    (out / "index.npy").write_bytes(b"nothing")
    with serving(out) as server:
        with pytest.raises(MaskDCPTError, match=r"index\.npy beside http://.* is damaged"):
            ShardPairs(server.index)
        (out / "index.npy").unlink()
        with pytest.raises(MaskDCPTError, match=r"index\.npy cannot be read: .* 404"):
            ShardPairs(server.index)
        with pytest.raises(MaskDCPTError, match="404 Not Found"):
            ShardPairs(f"{server.url}/nowhere/index.jsonl".removesuffix("l"))


def test_the_query_of_an_address_is_sent_and_not_shown(server):
    pairs = ShardPairs(f"{server.index}?key=secret")
    pairs.read(0)
    assert {path.partition("?")[2] for path in server.requests} == {"key=secret"}
    server.always = "404"
    with pytest.raises(MaskDCPTError) as caught:
        pairs.read(0)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "file", ["pipe:touch ran", "../outside.tar", "/outside.tar", "a'b.tar", "-a.tar\n"]
)
def test_an_index_names_no_files_but_those_beside_it(folder, tmp_path, file):
    out = shutil.copytree(folder, tmp_path / "out")
    index = out / "index.json"
    content = json.loads(index.read_text())
    content["shards"][0]["file"] = file
    index.write_text(json.dumps(content))
    with serving(out) as server:
        for place in (index, server.index):
            with pytest.raises(MaskDCPTError, match="is not an index of shards"):
                ShardPairs(place)
        assert set(server.requests) == {"/index.json"}


def test_a_proxy_of_the_environment_is_used(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(MaskDCPTError, match=r"//host\.example/a/index\.json .* Tunnel .* 501"):
        ShardPairs("http://host.example/a/index.json")


@pytest.mark.parametrize(
    ("proxy", "header"),
    [("http://us%40er:pass@127.0.0.1", b"Basic dXNAZXI6cGFzcw=="), ("http://127.0.0.1", None)],
)
def test_a_proxy_gets_its_name_and_password(monkeypatch, proxy, header):
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr(remote, "WAITS", (0,))
    http_parts._connection.cache_clear()
    connected = []

    def connect(address, *_args, **_options):
        ours = socket.socket()
        ours.connect(listener.getsockname())
        its, _ = listener.accept()
        its.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        connected.append((address, its))
        return ours

    with socket.create_server(("127.0.0.1", 0)) as listener, monkeypatch.context() as patch:
        patch.setattr(socket, "create_connection", connect)
        with pytest.raises(MaskDCPTError, match="407"):
            ShardPairs("http://another.example/index.json")
    http_parts._connection.cache_clear()
    (address, its), *_ = connected
    assert address == ("127.0.0.1", 80)
    sent = its.recv(1000)
    assert sent.startswith(b"CONNECT another.example:80")
    assert (b"Proxy-Authorization: %b" % header in sent) if header else b"Proxy-" not in sent


@pytest.fixture
def hub(server, monkeypatch) -> Server:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "mine")
    return server


def test_a_data_set_on_the_hub_is_read_with_its_token(hub, folder):
    with serving(folder) as other:
        hub.always = f"to {other.url}"
        same(
            ShardPairs("hf://datasets/own/er@v1/sub/index.json"), ShardPairs(folder / "index.json")
        )
        assert set(other.authorised) == {None}
    assert set(hub.authorised) == {"Bearer mine"}
    assert hub.requests[0] == "/datasets/own/er/resolve/v1/sub/index.json"
    with pytest.raises(MaskDCPTError, match="is hf://datasets/OWNER/NAME/PATH"):
        ShardPairs("hf://own/index.json")


def test_a_bucket_is_read_by_the_package_of_its_scheme(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MaskDCPTError, match="it needs s3fs: pip install s3fs"):
        ShardPairs("s3://bucket/index.json")

    class Bucket(MemoryFileSystem):
        protocol = "s3"

    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "s3", Bucket)
    for path in folder.iterdir():
        Bucket().pipe(f"s3://bucket/{path.name}", path.read_bytes())
    pairs = ShardPairs("s3://bucket/index.json")
    same(pairs, ShardPairs(folder / "index.json"))
    Bucket().rm("s3://bucket/haze-000000.tar")
    with pytest.raises(MaskDCPTError, match=r"s3://bucket/haze-000000\.tar cannot be read"):
        pairs.read(0)
