"""Files are whole, or are not there."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng
from PIL import Image

from maskdcpt_cli import files
from maskdcpt_cli.benchmarking.result_cache import ResultCache
from maskdcpt_cli.errors import ImageError, MaskDCPTError
from maskdcpt_cli.files import replacing, written
from maskdcpt_cli.images.formats import WRITABLE
from maskdcpt_cli.images.photo import Metadata, Page, Photo
from maskdcpt_cli.images.writing import write_photo
from tests.faults.writers import room_for
from tests.images.samples import exif_block

NOISE = default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
METADATA = Metadata(exif=exif_block()[6:], xmp=b"<x:xmpmeta/>")
LIMITS = (0, 1, 700, 4096, 8192, 0.5, -4096, -1)  # bytes; a fraction of, or less than, the whole


def limits(size: int) -> list[int]:
    sizes = (int(size * x) if isinstance(x, float) else x if x >= 0 else size + x for x in LIMITS)
    return sorted({x for x in sizes if 0 <= x < size})


@pytest.mark.parametrize("word", WRITABLE)
@pytest.mark.parametrize("metadata", [Metadata(), METADATA], ids=["bare", "metadata"])
def test_a_photo_cut_short_by_a_full_disk_is_an_error(tmp_path, word, metadata):
    photo = Photo(Path("in.png"), "png", (Page(NOISE),), metadata=metadata)
    target = tmp_path / f"out{WRITABLE[word].suffixes[0]}"
    write_photo(photo, photo.pages, target)
    size = target.stat().st_size
    target.write_bytes(b"the result before")
    for limit in limits(size):
        with room_for(limit), pytest.raises(ImageError, match=f"{target} cannot be written: File"):
            write_photo(photo, photo.pages, target)
        assert list(tmp_path.iterdir()) == [target]
        assert target.read_bytes() == b"the result before"
    with room_for(size):
        write_photo(photo, photo.pages, target)
    assert target.stat().st_size == size


def image(file) -> None:
    Image.fromarray(NOISE).save(file, "JPEG", quality=95)


@pytest.mark.parametrize("write", [image, lambda file: file.write(NOISE.tobytes())])
def test_other_files_cut_short_are_errors(tmp_path: Path, write: Callable[[object], None]) -> None:
    target = tmp_path / "sheet.jpg"
    with written(target) as file:
        write(file)
    size = target.stat().st_size
    for limit in limits(size):
        with (
            room_for(limit),
            pytest.raises(MaskDCPTError, match=r"Cannot write .* File too large"),
            written(target) as file,
        ):
            write(file)
        assert target.stat().st_size == size
        assert list(tmp_path.iterdir()) == [target]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from maskdcpt_cli.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    target = tmp_path / "a.jpg"
    subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    ours = tmp_path / ".notes.part"
    ours.touch()
    files._look_into.cache_clear()
    with replacing(tmp_path / "b.jpg"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"b.jpg", ours.name}


def test_what_a_running_process_writes_stays(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.jpg"):
        files._look_into.cache_clear()
        with replacing(tmp_path / "b.jpg"):
            pass
    assert {path.name for path in tmp_path.iterdir()} == {"a.jpg", "b.jpg"}


def test_a_result_that_does_not_fit_into_the_cache_of_a_benchmark_is_an_error(tmp_path):
    cache = ResultCache(tmp_path, made_by="a")
    cache.add("set", "1.png", [1], {"psnr": 30.0})
    size = (tmp_path / "results.jsonl").stat().st_size
    for room in (size, size + 1, size + 20):
        with room_for(room), pytest.raises(MaskDCPTError, match=r"Cannot write '.*jsonl'"):
            cache.add("set", "2.png", [2], {"psnr": 20.0})
    cache.add("set", "3.png", [3], {"psnr": 10.0})
    for known in (cache, ResultCache(tmp_path, made_by="a")):
        assert known.find("set", "1.png", [1], ["psnr"]) == {"psnr": 30.0}
        assert known.find("set", "3.png", [3], ["psnr"]) == {"psnr": 10.0}


def test_writers_with_one_number_of_a_process_have_files_of_their_own(tmp_path: Path) -> None:
    """As two containers with one name of the machine have."""
    target = tmp_path / "a.jpg"
    with replacing(target) as first:
        with replacing(target) as second:
            second.write(b"second")
        first.write(b"first")
        assert target.read_bytes() == b"second"
    assert target.read_bytes() == b"first"


def test_containers_with_one_name_of_the_machine_are_different_hosts(monkeypatch) -> None:
    found = set()
    for namespace in ("pid:[1]", "pid:[2]"):
        monkeypatch.setattr(Path, "readlink", lambda _path, target=namespace: Path(target))
        found.add(files._host())
    assert len(found) == 2
