"""Models by name: the table, the embedded default, and what a download does in every weather."""

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch

from maskdcpt_cli.degradations import CLEAN, DEGRADATIONS
from maskdcpt_cli.errors import CheckpointError, MaskDCPTError
from maskdcpt_cli.models import BACKBONES, build_backbone
from maskdcpt_cli.weights.checkpoint import read_checkpoint
from maskdcpt_cli.weights.zoo import (
    DEFAULT,
    DEFAULT_CLASSIFIER,
    ZOO,
    load_classifier,
    load_model,
    on_disk,
    read_model,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/backbones.json").read_text())
PUBLISHED = [name for name, model in ZOO.items() if model.repo is not None]
EMBEDDED = [name for name, model in ZOO.items() if model.repo is None]

# Small chunks, so that a part of a small file can arrive; no pause before the library tries again.
LOCATE = """
import sys, time
import huggingface_hub.constants
from maskdcpt_cli.weights.zoo import locate
huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 1024
time.sleep = lambda seconds: None
print(locate(sys.argv[1]))
"""


@dataclass
class Hub:
    """A server that holds one file of the published repository and counts who asks."""

    content: bytes
    path: str = "/Jiakui/MaskDCPT/resolve/{}/nafnet_maskdcpt_5d.pth"
    commit: str = "0123456789abcdef0123456789abcdef01234567"
    cuts: list[int] = field(default_factory=list)  # bytes after which an answer breaks off
    ranges: list[str | None] = field(default_factory=list)  # of every GET for the file
    endpoint: str = ""

    @property
    def etag(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if request.path not in (self.path.format("main"), self.path.format(self.commit)):
            request.send_response(404)
            request.send_header("X-Error-Code", "EntryNotFound")
            request.send_header("X-Repo-Commit", self.commit)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        wanted = request.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        total = len(self.content)
        request.send_response(206 if wanted else 200)
        request.send_header("ETag", f'"{self.etag}"')
        request.send_header("X-Repo-Commit", self.commit)
        request.send_header("Accept-Ranges", "bytes")
        request.send_header("Content-Length", str(total - start))
        if wanted:
            request.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        request.end_headers()
        if request.command == "GET":
            self.ranges.append(wanted)
            stop = start + self.cuts.pop(0) if self.cuts else total
            request.wfile.write(self.sent(start, stop))
            request.close_connection = True

    def sent(self, start: int, stop: int) -> bytes:
        return self.content[start:stop]


class Garbling(Hub):
    def sent(self, start: int, stop: int) -> bytes:
        return bytes(stop - start)


def serve(hub: Hub) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hub.answer(self)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Keeps the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        hub.endpoint = f"http://127.0.0.1:{server.server_port}"
        yield hub
        server.shutdown()


@pytest.fixture(scope="module")
def weights() -> bytes:
    torch.manual_seed(0)
    model = build_backbone("nafnet", width=4, enc_blk_nums=(1, 1), dec_blk_nums=(1, 1))
    content = io.BytesIO()
    torch.save({"params_ema": model.state_dict()}, content)
    return content.getvalue()


@pytest.fixture
def hub(weights: bytes) -> Iterator[Hub]:
    yield from serve(Hub(weights))


@dataclass(frozen=True)
class Machine:
    """A home folder, and programs that run in it."""

    home: Path

    def start(self, name: str, endpoint: str, **environment: str) -> "subprocess.Popen[str]":
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        own = {"HF_HOME": str(self.home), "HF_ENDPOINT": endpoint, "NO_PROXY": "127.0.0.1"}
        return subprocess.Popen(
            [sys.executable, "-c", LOCATE, name],
            env={**inherited, **own, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def locate(self, name: str, endpoint: str, **environment: str) -> Path:
        process = self.start(name, endpoint, **environment)
        out, err = process.communicate()
        assert process.returncode == 0, err
        return Path(out.strip())

    def fail(self, name: str, endpoint: str, **environment: str) -> str:
        process = self.start(name, endpoint, **environment)
        out, err = process.communicate()
        assert process.returncode == 1, out
        return err.strip().splitlines()[-1]

    def files(self) -> list[Path]:
        """Return the files that a user who searches for weights would find."""
        found = self.home.rglob("*")
        return [path for path in found if path.suffix == ".pth" or len(path.name) == 64]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "home")


@pytest.mark.parametrize("name", ZOO)
def test_the_table_holds_what_the_networks_are(name: str) -> None:
    model = ZOO[name]
    assert model.name == name
    assert model.backbone in BACKBONES
    assert set(model.degradations) <= {*DEGRADATIONS, CLEAN}
    if name in PUBLISHED:
        assert model.parameters == GOLDEN[model.backbone]["parameters"]


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_model_is_what_the_table_says(name: str) -> None:
    path = on_disk(name)
    assert path is not None
    model, checkpoint = ZOO[name], read_checkpoint(path)
    assert checkpoint.backbone == model.backbone
    assert checkpoint.degradations == model.degradations
    assert checkpoint.licence == model.licence
    tensors = [*checkpoint.state_dict.values(), *checkpoint.classifier.values()]
    assert sum(tensor.numel() for tensor in tensors) == model.parameters
    assert checkpoint.restores == (model.use == "restores")


def test_the_default_restores_without_a_network() -> None:
    assert DEFAULT in EMBEDDED
    ramp = torch.linspace(0.2, 0.8, 64).expand(1, 3, 64, 64)
    lq = ramp + 0.1 * torch.randn(ramp.shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        restored = load_model()(lq)
    assert (restored - ramp).square().mean() < 0.2 * (lq - ramp).square().mean()


def test_the_default_classifier_names_degradations_without_a_network() -> None:
    assert DEFAULT_CLASSIFIER in EMBEDDED
    classifier = load_classifier()
    assert classifier.degradations == ZOO[DEFAULT_CLASSIFIER].degradations
    assert classifier.temperature is not None
    assert classifier.multi_label
    assert set(classifier.thresholds) == set(classifier.degradations)
    with torch.inference_mode():
        logits = classifier.network(torch.rand(1, 3, 64, 64)).logits
    assert logits.shape == (1, len(classifier.degradations))


def test_what_was_only_pre_trained_does_not_restore_and_says_what_to_do() -> None:
    path = on_disk(DEFAULT_CLASSIFIER)
    assert path is not None
    for given in (DEFAULT_CLASSIFIER, path):
        with pytest.raises(
            CheckpointError, match=f"is only pre-trained .* finetune --init-from {path}"
        ):
            load_model(given)


@pytest.mark.parametrize("name", [name for name, model in ZOO.items() if model.use == "restores"])
def test_what_restores_does_not_classify_and_is_not_fetched_to_say_so(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(_model: object) -> Path:
        raise AssertionError

    monkeypatch.setattr("maskdcpt_cli.weights.zoo._fetch", fetch)
    with pytest.raises(CheckpointError, match=f"{name} restores, .* take tiny-classifier, or"):
        load_classifier(name)


@pytest.mark.parametrize("name", ["tinny", "nafnet"])
def test_an_unknown_name_is_answered_with_the_known_ones(name: str) -> None:
    known = "tiny, tiny-asked, tiny-classifier"
    with pytest.raises(MaskDCPTError, match=rf"Unknown model '{name}'\..* {known}\."):
        load_model(name)


def test_an_embedded_model_can_be_asked_and_leaves_what_it_is_not_asked_for() -> None:
    model = load_model("tiny-asked")
    assert model.requests == tuple(one for one in ZOO["tiny-asked"].degradations if one != CLEAN)
    lq = torch.rand(1, 3, 32, 32)
    nothing, everything = torch.zeros(1, 13), torch.ones(1, 13)
    with torch.inference_mode():
        assert torch.equal(model(lq, request=nothing), lq)
        assert not torch.equal(model(lq, request=everything), lq)


@pytest.mark.parametrize("path", ["weights.pth", "folder/weights", Path("tiny")])
def test_what_looks_like_a_path_is_looked_for_on_disk(
    path: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"(weights|tiny).* cannot be opened: No such file"):
        load_model(path)


@pytest.mark.parametrize("name", ["mine.pth", "mine"])
def test_a_path_is_read(
    name: str, weights: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(weights)
    assert read_model(name).source == Path(name)


def test_a_listing_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'huggingface_hub'} & set(sys.modules)"
    code = f"import sys, maskdcpt_cli.weights.zoo; print({heavy})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_a_model_is_fetched_once_and_then_needs_no_network(hub: Hub, machine: Machine) -> None:
    path = machine.locate("nafnet-5d", hub.endpoint)
    assert path.is_relative_to(machine.home)
    assert path.read_bytes() == hub.content
    asked = len(hub.ranges)
    assert asked == 1
    assert machine.locate("nafnet-5d", hub.endpoint, HF_HUB_OFFLINE="1") == path
    assert machine.locate("nafnet-5d", "http://127.0.0.1:9") == path
    assert len(hub.ranges) == asked


def test_a_fetched_model_carries_what_the_table_knows(
    hub: Hub, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = machine.locate("nafnet-5d", hub.endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(machine.home / "hub"))
    checkpoint = read_model("nafnet-5d")
    assert (checkpoint.source, checkpoint.options["width"]) == (path, 4)
    assert checkpoint.degradations == ("H", "RS", "GN", "MB", "LL")
    assert checkpoint.licence is None


@pytest.mark.parametrize("more", [0, 10**6])  # bytes of another machine, which has no lock
def test_an_interrupted_download_is_resumed_by_the_next_run(
    hub: Hub, machine: Machine, more: int
) -> None:
    half = len(hub.content) // 2
    hub.cuts = [half, *[0] * 20]
    message = machine.fail("nafnet-5d", hub.endpoint)
    assert "nafnet_maskdcpt_5d.pth could not be fetched" in message
    assert machine.files() == []

    with next(machine.home.rglob("*.incomplete")).open("ab") as partial:
        partial.write(bytes(more))
    hub.cuts, hub.ranges = [], []
    assert machine.locate("nafnet-5d", hub.endpoint).read_bytes() == hub.content
    assert hub.ranges == [None if more else f"bytes={half - half % 1024}-"]  # whole chunks


def test_a_file_that_arrives_damaged_is_removed(weights: bytes, machine: Machine) -> None:
    for hub in serve(Garbling(weights)):
        message = machine.fail("nafnet-5d", hub.endpoint)
        assert "it arrived damaged and was removed" in message
        assert machine.files() == []
        assert not list(machine.home.rglob("*.incomplete"))


def test_processes_that_start_together_share_one_download(hub: Hub, machine: Machine) -> None:
    processes = [machine.start("nafnet-5d", hub.endpoint) for _ in range(2)]
    paths = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert len(paths) == 1
    assert hub.ranges == [None]


def test_without_a_server_the_error_says_what_to_fetch_and_where_to_put_it(
    machine: Machine,
) -> None:
    message = machine.fail("swinir-5d", "http://127.0.0.1:9")
    url = "http://127.0.0.1:9/Jiakui/MaskDCPT/resolve/main/swinir_maskdcpt_5d.pth"
    for part in ("DownloadError", "'swinir-5d'", url, str(machine.home), "--model PATH/swinir"):
        assert part in message


def test_offline_the_error_says_so(hub: Hub, machine: Machine) -> None:
    message = machine.fail("nafnet-5d", hub.endpoint, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE forbids the network" in message
    assert hub.ranges == []


def test_a_file_the_server_does_not_have_is_reported(hub: Hub, machine: Machine) -> None:
    message = machine.fail("restormer-5d", hub.endpoint)
    assert "restormer_maskdcpt_5d.pth could not be fetched" in message
    assert "the server answers 404" in message
