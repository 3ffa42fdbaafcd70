"""Shards as streams: every process reads its own, and a resumed run continues where it was."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from maskdcpt_cli.data.mixture import Sample, to_float
from maskdcpt_cli.data.order import Batches, BatchStage
from maskdcpt_cli.data.pairs import FilePairs, Names
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.data.shards import stored_png
from maskdcpt_cli.data.shards.index import ShardPairs
from maskdcpt_cli.data.shards.pack_items import PackItems
from maskdcpt_cli.data.shards.packing import Cropping, measure, pack, plan
from maskdcpt_cli.data.shards.streaming import Stream, StreamSource, open_stream, stream
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.presets.data import Data, Folders, Shards, TrainPart, TrainSynthesis

SIDE = 16
IMAGES = 24  # in shards of two
LABELS = ("GN", "H")
NOISY = TrainSynthesis(variant="gaussian", levels=(50.0,))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def packed(folder: Path, *, images: int = IMAGES, clean: bool = False) -> Path:
    """Shards of haze, gt of image n being n all over, lq 100 more; or of the gt alone."""
    for number in range(images):
        for side, value in (("gt", number), ("lq", 100 + number)):
            (folder / side).mkdir(parents=True, exist_ok=True)
            pixels = np.full((SIDE, SIDE, 3), value, np.uint8)
            (folder / side / f"{number}.png").write_bytes(stored_png.encode(pixels))
    names = [f"{number}.png" for number in range(images)]
    gt, lq = (Names(f"{side}/{name}" for name in names) for side in ("gt", "lq"))
    pairs = FilePairs(folder, gt, None if clean else lq, "H")
    items = PackItems([ImageSet("some", pairs)])
    out = folder / "out"
    plans, _ = plan(items, measure(items, jobs=1), cropping=Cropping(), shard_size=10_000)
    list(pack(plans, items, out, cropping=Cropping(), jobs=1))
    return out


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    return packed(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def url(shards) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(shards)))
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/index.json"
    server.shutdown()
    server.server_close()


def opened(
    url: str, *, workers: int = 0, batch: int = 3, repeat: int = 1, **options: int
) -> Stream:
    batches = Batches([BatchStage(batch, SIDE)], **options)
    return Stream([StreamSource(url, "H", repeat=repeat)], batches, labels=LABELS, workers=workers)


def images(batches: list[Sample]) -> list[int]:
    return [round(float(gt.mean() * 255)) for batch in batches for gt in to_float(batch.gt)]


def test_shards_are_read_over_http(url):
    batches = list(stream(opened(url, last=IMAGES // 3)))
    assert sorted(images(batches)) == list(range(IMAGES))
    for batch in batches:
        assert batch.lq.shape == (3, 3, SIDE, SIDE)
        assert torch.allclose(to_float(batch.lq) * 255, to_float(batch.gt) * 255 + 100, atol=1e-3)
        assert batch.label.tolist() == [1, 1, 1]


@pytest.mark.parametrize("scheme", ["pipe", "PIPE", "sftp", "unknown"])
def test_a_url_that_runs_a_command_is_refused(shards, tmp_path, scheme):
    ran = tmp_path / "ran"
    with pytest.raises(MaskDCPTError, match="is not read: give a path, or a URL with file, http"):
        opened(f"{scheme}:touch {ran}; cat '{shards}/index.json'")
    assert not ran.exists()


def test_a_file_in_an_index_runs_no_command(tmp_path):
    ran = tmp_path / "ran"
    index = packed(tmp_path, images=4) / "index.json"
    content = json.loads(index.read_text())
    for file in (f"pipe:touch {ran}", "../outside.tar", "/outside.tar", "a'b.tar", "-a.tar\n"):
        content["shards"][0]["file"] = file
        index.write_text(json.dumps(content))
        with pytest.raises(MaskDCPTError, match="is not an index of shards"):
            opened(f"{index}")
        with pytest.raises(MaskDCPTError, match="is not an index of shards"):
            ShardPairs(index)
    assert not ran.exists()


def test_processes_of_all_ranks_read_disjoint_shards(shards):
    read = [
        images(list(stream(opened(f"{shards}/index.json", workers=2, rank=rank, world=2, last=4))))
        for rank in range(2)
    ]
    assert len(read[0]) == len(read[1]) == IMAGES // 2
    assert sorted(read[0] + read[1]) == list(range(IMAGES))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_stream_yields_the_same_samples(shards, workers):
    index = f"{shards}/index.json"
    all_at_once = list(stream(opened(index, workers=workers, last=20)))
    for stop in (1, 7, 12):
        resumed = list(stream(opened(index, workers=workers, first=stop, last=20)))
        for one, other in zip(all_at_once[stop:], resumed, strict=True):
            assert all(torch.equal(*pair) for pair in zip(one[:4], other[:4], strict=True))


def test_epochs_differ_and_repeats_are_visits(shards):
    batches = list(islice(stream(opened(f"{shards}/index.json", repeat=2)), 32))
    order = images(batches)
    assert sorted(order[: 2 * IMAGES]) == sorted([*range(IMAGES), *range(IMAGES)])
    assert order[:IMAGES] != order[2 * IMAGES : 3 * IMAGES]


def test_clean_crops_are_degraded_in_the_stream(tmp_path):
    out = packed(tmp_path, images=4, clean=True)
    source = StreamSource(f"{out}/index.json", "GN", clean=True, synthesis=NOISY)
    noisy = Stream([source], Batches([BatchStage(4, SIDE)], last=1), labels=LABELS, workers=0)
    (batch,) = stream(noisy)
    assert sorted(images([batch])) == [0, 1, 2, 3]
    assert batch.label.tolist() == [0, 0, 0, 0]
    assert (to_float(batch.lq) - to_float(batch.gt)).std() * 255 > 20


def test_what_shards_do_not_have_is_reported(shards):
    source = StreamSource(f"{shards}/index.json", "GN", clean=True)
    with pytest.raises(MaskDCPTError, match="no clean crops; it has: H"):
        Stream([source], Batches([BatchStage(1, SIDE)]), labels=LABELS, workers=0)


@pytest.mark.parametrize("root", ["{folder}", "pipe:cat '{folder}/{{}}'"])
def test_a_preset_of_shards_is_streamed(shards, root):
    source = Shards(name="a", shards=f"{shards.name}/index.json")
    data = Data(setting="5d", train=(TrainPart(degradation="H", repeat=2, sources=(source,)),))
    opened = open_stream(
        data,
        root.format(folder=shards.parent),
        Batches([BatchStage(8, SIDE)], last=6),
        workers=0,
        allow_pipe=True,
    )
    assert sorted(images(list(stream(opened)))) == sorted([*range(IMAGES)] * 2)
    files = TrainPart(degradation="H", sources=(Folders(name="b", gt="{path}"),))
    with pytest.raises(MaskDCPTError, match="'b' cannot be streamed"):
        open_stream(Data(setting="5d", train=(files,)), "", opened.batches, workers=0)


def test_too_few_shards_for_the_processes_are_refused(shards):
    with pytest.raises(MaskDCPTError, match=r"12 shards are too few for 16 processes \(4 ranks"):
        opened(f"{shards}/index.json", workers=4, world=4, repeat=5)


def test_a_broken_crop_is_named_and_the_next_one_replaces_it(tmp_path):
    out = packed(tmp_path, images=12)
    first = out / "haze-000000.tar"
    data = bytearray(first.read_bytes())
    data[512:1000] = bytes(488)  # of the first crop
    first.write_bytes(data)
    index = f"{out}/index.json"
    batches = list(stream(opened(index, batch=1, last=24)))
    reasons = [reason for batch in batches for reason in batch.skipped]
    assert len(reasons) == 2
    assert all("haze-000000.tar:haze-000000-000000" in reason for reason in reasons)
    order = images(batches)
    broken = next(number for number, batch in enumerate(batches) if batch.skipped)
    assert order[broken] == order[broken + 1]
    assert len(set(order)) == 11
    resumed = list(stream(opened(index, batch=1, first=broken + 1, last=24)))
    assert images(resumed) == order[broken + 1 :]


@pytest.mark.parametrize("keep", [0.5, 0])
def test_a_shard_that_ends_too_early_is_reported(tmp_path, keep):
    out = packed(tmp_path, images=4)
    path = out / "haze-000001.tar"
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(MaskDCPTError, match=r"haze-000001\.tar cannot be read beyond"):
        list(stream(opened(f"{out}/index.json", last=8)))


def test_an_address_without_shards_is_reported(url, tmp_path):
    with pytest.raises(MaskDCPTError, match=r"is not the URL of an index\.json"):
        opened("http://127.0.0.1/shards/")
    with pytest.raises(MaskDCPTError, match="cannot be read"):
        opened(url.replace("index.json", "nowhere/index.json"))
    with pytest.raises(MaskDCPTError, match="cannot be read"):
        opened(str(tmp_path / "index.json"))
