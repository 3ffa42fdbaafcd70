"""One limit of pixels holds in every command, and from the header alone."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import pytest
from PIL import Image

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images import reading
from maskdcpt_cli.images.codecs import pillow
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.images.reading import Header, preview, probe, read_rgb
from maskdcpt_cli.scoring.images import read_image
from tests.cli.commands import COMMANDS, lay_out, run

FOREIGN = ("OpenCV(", "cv::", "CV_", "decompression bomb", "Traceback", "Warning")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def claim(path: Path, width: int, height: int) -> None:
    """Write a PNG of a few bytes whose header claims this size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_header_that_claims_too_much_is_refused_in_a_sentence(command: str) -> None:
    lay_out(Path())
    for folder in ("lq", "gt"):
        claim(Path(folder, "huge.png"), 100_000, 100_000)
    result = run(*COMMANDS[command])
    assert result.exit_code in (0, 1), result.output
    text = " ".join(result.output.split())
    assert "huge.png" in text
    assert "10 gigapixels are above the limit of 500 megapixels; lift it with --max-pixels" in text
    assert not [word for word in FOREIGN if word in text]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_limit_is_an_option(command: str) -> None:
    lay_out(Path())
    for folder in ("lq", "gt"):
        Image.new("RGB", (1001, 1000)).save(Path(folder, "large.png"))
    result = run(*COMMANDS[command], "--max-pixels", "1")
    assert result.exit_code in (0, 1), result.output
    text = " ".join(result.output.split())
    assert "large.png" in text
    assert "1 megapixels are above the limit of 1 megapixels" in text


@pytest.mark.parametrize("limit", [MAX_PIXELS, None])
def test_training_images_are_bounded_without_the_words_of_opencv(limit: int | None) -> None:
    claim(Path("huge.png"), 100_000, 100_000)
    with pytest.raises(ImageError) as raised:
        read_rgb(Path("huge.png"), max_pixels=limit)
    assert "10 gigapixels are above the limit of" in str(raised.value)


def test_a_chunk_that_claims_gigabytes_is_not_made_room_for(monkeypatch) -> None:
    Image.new("RGB", (8, 8)).save("a.png")
    data = Path("a.png").read_bytes()
    at = data.index(b"IDAT") - 4
    Path("a.png").write_bytes(data[:at] + b"\xff\xff\0\0" + data[at + 4 :])
    monkeypatch.setattr(reading.cv2, "imdecode", None)
    with pytest.raises(ImageError, match=r"^a.png cannot be read: it is cut short.$"):
        read_rgb(Path("a.png"))


def test_what_follows_the_end_of_a_png_is_ignored() -> None:
    Image.new("RGB", (8, 9)).save("a.png")
    with Path("a.png").open("ab") as file:
        file.write(b"and more")
    assert read_rgb(Path("a.png")).shape == (9, 8, 3)


def test_the_errors_of_opencv_are_not_repeated(monkeypatch) -> None:
    Image.new("RGB", (8, 8)).save("a.png")

    def fail(*_args: object) -> None:
        raise cv2.error("OpenCV(5.0) loadsave.cpp:77: error: (-215:Assertion failed)")

    monkeypatch.setattr(reading.cv2, "imdecode", fail)
    with pytest.raises(ImageError, match=r"^a.png cannot be read: its pixels cannot be decoded.$"):
        read_rgb(Path("a.png"))


def test_the_errors_of_pillow_are_not_repeated(monkeypatch) -> None:
    Image.new("RGB", (80, 80)).save("a.webp")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match="more pixels than Pillow"):
        preview(Path("a.webp"), max_side=None)


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_webp_is_refused_before_there_is_room_for_it(
    monkeypatch, mode: str, lossless: bool
) -> None:
    Image.new(mode, (80, 60)).save("a.webp", lossless=lossless)
    monkeypatch.setattr(pillow.WebPImagePlugin, "WebPImageFile", None)
    assert probe(Path("a.webp")) == Header("webp", 80, 60, 1)
    with pytest.raises(ImageError, match="4800 pixels are above the limit of 4799 pixels"):
        preview(Path("a.webp"), max_side=None, max_pixels=4799)


def test_the_frames_of_a_webp_are_counted_and_a_damaged_header_is_refused() -> None:
    one, two = Image.new("RGB", (8, 6)), Image.new("RGB", (8, 6), "red")
    one.save("a.webp", save_all=True, append_images=[two, one])
    assert probe(Path("a.webp")) == Header("webp", 8, 6, 3)
    one.save("b.webp")
    data = Path("b.webp").read_bytes()
    for broken in (data[:12] + b"VP8?" + data[16:], data[:25], data[:23] + b"no!" + data[26:]):
        Path("b.webp").write_bytes(broken)
        with pytest.raises(ImageError, match="its header is damaged"):
            probe(Path("b.webp"))


def test_a_scored_file_that_changes_is_read_again() -> None:
    for value in (0, 200):
        Image.new("RGB", (8, 8 + value), (value,) * 3).save("a.png")
        assert read_image(Path("a.png")).pixels.mean() == value


MEASURED = """
import resource, sys
from pathlib import Path
from maskdcpt_cli.images.reading import preview
preview(Path("small.jpg"), max_side=64)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
shape = preview(Path("large.jpg"), max_side=64).shape
print(*shape, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_the_preview_of_a_large_jpeg_takes_little_memory() -> None:
    Image.new("L", (10_000, 8000), 128).save("large.jpg")  # 80 MB when it is decoded whole
    Image.new("L", (64, 64), 128).save("small.jpg")
    command = [sys.executable, "-c", MEASURED]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    *shape, megabytes = map(int, run.stdout.split())
    assert shape == [51, 64, 3]
    assert megabytes < 30


SHARDS = """
setting: derain
{part}:
  - degradation: RS
    sources:
      - {{name: own, shards: out/index.json}}
"""


@pytest.mark.parametrize("packed", [(), ("--compress",)], ids=["stored", "compressed"])
def test_the_limit_is_that_of_images_in_shards(packed: tuple[str, ...]) -> None:
    for folder in ("lq", "gt"):
        Path(folder).mkdir()
        Image.new("RGB", (1001, 1000)).save(Path(folder, "large.png"))
    pack = ("data", "pack", "--pairs", "lq", "gt", "--type", "rain", "-o", "out")
    result = run(*pack, "--crop-size", "2000", "--jobs", "1", *packed)
    assert result.exit_code == 0, result.output
    Path("test.yaml").write_text(SHARDS.format(part="test"), encoding="utf-8")
    given = ("benchmark", "--data-preset", "test.yaml", "--data-root", ".", "-m", "identity")
    refused = run(*given, "-o", "a", "--metrics", "psnr", "--jobs", "1", "--max-pixels", "1")
    assert refused.exit_code == 1, refused.output
    text = " ".join(refused.output.split())
    assert "1001000 pixels are above the limit of 1000000 pixels; lift it with --max-pi" in text
    assert ".." not in text.split("Not measured")[-1]
    taken = run(*given, "-o", "b", "--metrics", "psnr", "--jobs", "1", "--max-pixels", "2")
    assert taken.exit_code == 0, taken.output
