"""Files are read in processes of their own, which may end with what they read."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from io import FileIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images import limits, workers
from maskdcpt_cli.images.limits import FileLimits
from maskdcpt_cli.images.reader import PhotoReader, reading_by
from maskdcpt_cli.images.reading import preview, probe, read_photo
from maskdcpt_cli.images.worker_main import report
from maskdcpt_cli.images.workers import WorkerLost, WorkerPool
from tests.images import hostile_worker
from tests.images.hostile_worker import write_hostile
from tests.images.samples import with_metadata

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="limits differ there")
REASONS = {
    "spin": "decoding it takes too long",
    "wait": "decoding it takes too long",
    "crash": "its decoder crashed",
    "be killed": "the system ended its decoder, as for want of memory",
    "allocate": "it needs more memory than there is, or than its size explains",
}


@pytest.fixture
def hostile(monkeypatch) -> None:
    monkeypatch.setattr(workers, "PROGRAM", hostile_worker.PROGRAM)


@on_linux
def test_a_system_without_room_for_larger_pipes_is_no_hindrance(monkeypatch, tmp_path) -> None:
    tried = []

    def full(_pipe: object, *request: int) -> None:
        tried.append(request)
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("fcntl.fcntl", full)
    with_metadata(tmp_path / "in.jpg")
    with PhotoReader() as reader:
        assert reader.read(tmp_path / "in.jpg").pages
    assert {size for _, size in tried} == {1 << 20}


@pytest.mark.parametrize("name", ["in.jpg", "in.png", "in.tif", "in.webp", "in.bmp", "in.avif"])
def test_a_photo_is_as_it_is_read_in_this_process(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with_metadata(path)
    with PhotoReader() as reader:
        photo, expected = reader.read(path), read_photo(path)
        assert (photo.path, photo.format, photo.metadata, photo.notices) == (
            *(path, expected.format, expected.metadata),
            expected.notices,
        )
        for page, other in zip(photo.pages, expected.pages, strict=True):
            np.testing.assert_array_equal(page.pixels, other.pixels)
            assert page.pixels.dtype == other.pixels.dtype
            assert page.pixels.flags.writeable
        assert reader.probe(path) == probe(path)
        np.testing.assert_array_equal(reader.preview(path, max_side=16), preview(path, max_side=16))


def test_the_colour_of_a_profile_is_followed(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.new("RGB", (4, 4), (9, 99, 200)).save(tmp_path / "in.png", icc_profile=profile)
    with PhotoReader() as reader:
        photo, expected = reader.read(tmp_path / "in.png"), read_photo(tmp_path / "in.png")
    pixels = photo.pages[0].pixels
    np.testing.assert_array_equal(photo.colour.to_srgb(pixels), expected.colour.to_srgb(pixels))
    assert photo.notices == expected.notices


def test_errors_and_limits_are_those_of_reading(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("no.png").write_bytes(b"no")
    Image.new("RGB", (9, 9)).save("nine.png")
    with PhotoReader() as reader:
        for path, limit in ((Path("no.png"), None), (Path("nine.png"), 80), (Path("x"), None)):
            with pytest.raises(ImageError) as expected:
                read_photo(path, max_pixels=limit)
            with pytest.raises(ImageError) as raised:
                reader.read(path, max_pixels=limit)
            assert str(raised.value) == str(expected.value)
        folder = tmp_path / "other"
        folder.mkdir()
        Path("nine.png").rename(folder / "moved.png")
        monkeypatch.chdir(folder)
        assert reader.probe(Path("moved.png")).width == 9


@on_linux
@pytest.mark.parametrize("when", ["header", "pixels"])
@pytest.mark.parametrize("what", REASONS)
def test_a_file_that_ends_its_process_has_a_reason(
    tmp_path: Path, hostile: None, what: str, when: str
) -> None:
    write_hostile(tmp_path / "bad.png", what, when=when)
    Image.new("RGB", (5, 4)).save(tmp_path / "good.png")
    with PhotoReader() as reader:
        with pytest.raises(ImageError, match=rf"bad.png cannot be read: {REASONS[what]}"):
            reader.read(tmp_path / "bad.png")
        assert reader.probe(tmp_path / "good.png").width == 5


@on_linux
def test_closing_ends_what_is_being_read(tmp_path: Path, hostile: None, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_hostile(Path("bad.png"), "wait for long")
    with ThreadPoolExecutor(1) as thread, PhotoReader() as reader:
        running = thread.submit(reader.read, Path("bad.png"))
        waiting = thread.submit(reader.read, Path("bad.png"))
        process = hostile_worker.hung_process()
    assert isinstance(running.exception(), ImageError)
    assert isinstance(waiting.exception(), ImageError)
    assert not Path(f"/proc/{process}").exists()


def pillows_limit() -> int | None:
    return Image.MAX_IMAGE_PIXELS


def test_pillows_limit_does_not_apply() -> None:
    assert pillows_limit() is not None
    with WorkerPool(__name__) as pool:
        assert pool.call(pillows_limit) is None


def test_many_threads_read_at_a_time(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(20)]
    for number, path in enumerate(paths):
        Image.new("L", (200, 100), number).save(path)
    with PhotoReader() as reader, ThreadPoolExecutor(4) as threads:
        found = [photo.pages[0].pixels[0, 0, 0] for photo in threads.map(reader.read, paths)]
    assert found == list(range(20))


def test_an_idle_process_that_is_gone_is_replaced(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    with PhotoReader() as reader:
        reader.probe(tmp_path / "a.png")
        (worker,) = reader._workers._idle
        worker._process.kill()
        worker._process.wait()
        assert reader.probe(tmp_path / "a.png").width == 5


def test_a_reader_that_is_lent_is_closed_by_an_error_alone(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    reader = PhotoReader()
    with reading_by(reader) as lent:
        assert lent.probe(tmp_path / "a.png").width == 5
    assert reader.probe(tmp_path / "a.png").width == 5
    with pytest.raises(KeyboardInterrupt), reading_by(reader):
        raise KeyboardInterrupt
    with pytest.raises(WorkerLost):
        reader.probe(tmp_path / "a.png")


@on_linux
def test_a_process_ends_with_its_parent() -> None:
    program = (
        "import os; from maskdcpt_cli.images.reader import PhotoReader\n"
        "reader = PhotoReader().start()\n"
        "print(reader._workers._idle[0]._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=env, check=False
    )
    assert result.returncode == -signal.SIGKILL
    child, deadline = Path(f"/proc/{int(result.stdout)}"), time.monotonic() + 60
    while child.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not child.exists()


def test_a_process_without_a_parent_does_not_take_a_file_for_unreadable(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    reading_end, writing_end = os.pipe()
    os.close(reading_end)

    def read() -> None:
        with FileIO(writing_end, "wb") as answers:
            limits._of_process.set(FileLimits(partial(report, answers), clock=False))
            read_photo(tmp_path / "a.png")

    with pytest.raises(SystemExit):
        copy_context().run(read)


@on_linux
def test_limits_apply_while_a_file_is_read_and_no_longer() -> None:
    import resource

    def soft() -> tuple[int, int]:
        return tuple(resource.getrlimit(one)[0] for one in kinds)

    kinds = (resource.RLIMIT_CPU, resource.RLIMIT_DATA)
    before, stop = soft(), signal.getsignal(signal.SIGTERM)
    named: list[str] = []
    files = FileLimits(named.append)
    with files.on("a.png", 1000):
        header = soft()
        files.allow(12_000_000)
        pixels = soft()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert 0 < signal.alarm(0) <= limits.CLOCK * (limits.SECONDS + 120)
    assert soft() == before
    assert signal.getsignal(signal.SIGTERM) is stop
    assert named == ["a.png", ""]
    assert header[0] <= time.process_time() + limits.SECONDS + 1
    assert pixels[0] - header[0] in {120, 121}
    assert pixels[1] - header[1] > 12_000_000 * 200


def test_without_the_systems_limits_the_clock_limits(monkeypatch) -> None:
    begun: list[float] = []
    cancelled = threading.Event()
    monkeypatch.setattr(limits, "resource", None)
    monkeypatch.setattr(
        limits.faulthandler, "dump_traceback_later", lambda after, **_: begun.append(after)
    )
    monkeypatch.setattr(limits.faulthandler, "cancel_dump_traceback_later", cancelled.set)
    with FileLimits(lambda _: None).on("a.png", 1000):
        assert begun == [limits.CLOCK * limits.SECONDS]
        assert not cancelled.is_set()
    assert cancelled.is_set()


def test_a_path_of_imports_that_python_ignores_is_no_hindrance(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])
    with_metadata(tmp_path / "in.jpg")
    with PhotoReader() as reader:
        assert reader.read(tmp_path / "in.jpg").pages
