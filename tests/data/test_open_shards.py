"""Shards on disk stay open: in bounded number, in forked processes too, until others are packed."""

import multiprocessing
import os
import shutil
from pathlib import Path
from threading import Thread

import pytest

from maskdcpt_cli.data.shards import local
from maskdcpt_cli.data.shards.index import ShardPairs
from tests.data.packing import packed

fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")


@pytest.fixture(scope="module")
def packed_once(tmp_path_factory) -> Path:
    return packed(tmp_path_factory.mktemp("data"), images=8)


@pytest.fixture
def index(packed_once, tmp_path) -> Path:
    return shutil.copytree(packed_once, tmp_path / "out") / "index.json"


@pytest.fixture(autouse=True)
def opened(monkeypatch) -> list[Path]:
    """The files that are opened."""
    paths: list[Path] = []
    original = local.OpenFile.__init__

    def counted(self, path: Path) -> None:
        paths.append(path)
        original(self, path)

    monkeypatch.setattr(local.OpenFile, "__init__", counted)
    local._opened.cache_clear()
    return paths


def values(pairs: ShardPairs) -> list[int]:
    return [int(pairs.read(index).gt[0, 0, 0]) for index in range(len(pairs))]


def test_a_shard_is_opened_once(index, opened):
    pairs, others = ShardPairs(index), ShardPairs(index, "H")
    assert sorted(values(pairs)) == list(range(8))
    assert values(pairs) == values(others)
    assert len(opened) == len(set(opened)) == len(pairs.shards)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system lists no open files")
def test_no_more_than_so_many_stay_open(index, monkeypatch):
    pairs = ShardPairs(index)
    monkeypatch.setattr(local, "_opened", local.lru_cache(2)(local._opened.__wrapped__))
    values(pairs)
    paths = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    assert sum(path.endswith(".tar") for path in paths) == 2


@fork
def test_forked_processes_and_threads_read_the_same_file_at_once(index):
    pairs = ShardPairs(index)
    expected = values(pairs) * 20
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    readers = [
        reader(target=lambda: queue.put([value for _ in range(20) for value in values(pairs)]))
        for reader in (context.Process, context.Process, Thread, Thread)
    ]
    for reader in readers:
        reader.start()
    assert [queue.get() for _ in readers] == [expected] * 4
    for reader in readers:
        reader.join()


def test_shards_that_are_packed_again_are_read_anew(index, tmp_path):
    assert max(values(ShardPairs(index))) == 7
    shutil.rmtree(tmp_path)
    packed(tmp_path, images=5)
    os.utime(index, ns=(0, index.stat().st_mtime_ns + 10**9))
    assert sorted(values(ShardPairs(index))) == list(range(5))
