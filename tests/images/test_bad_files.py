"""Every file is a photo or an ImageError of one sentence that names it; results are whole."""

import errno
import os
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images import reading as images
from maskdcpt_cli.images.codecs import pillow
from maskdcpt_cli.images.formats import IMAGE_SUFFIXES, WRITABLE, format_of
from maskdcpt_cli.images.reading import Page, Photo, preview, probe, read_photo, result_suffix
from maskdcpt_cli.images.writing import write_photo

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of decoders, about the damage

RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (48, 64, 3), dtype=np.uint16)
PHOTO = Photo(Path("x"), "png", (Page(PIXELS),))
DAMAGED = "its content is damaged, or of a kind that is not read"


def encoded(tmp_path: Path, name: str) -> bytes:
    """The bytes of a small image of each kind that is read in its own way."""
    path = tmp_path / name
    if name.startswith("deep"):
        assert cv2.imwrite(str(path), DEEP)
    elif name == "planar.tif":
        tifffile.imwrite(path, np.moveaxis(DEEP, -1, 0), photometric="rgb", planarconfig="separate")
    elif name == "float.tif":
        tifffile.imwrite(path, DEEP.astype(np.float32), photometric="rgb")
    elif name == "palette.gif":
        frames = [Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1])]
        frames[0].save(path, save_all=True, append_images=frames[1:])
    elif name == "in.heic":
        heif = pytest.importorskip("pillow_heif")
        heif.from_pillow(Image.fromarray(PIXELS)).save(path)
    else:
        exif = Image.Exif()
        exif[271] = "Maker of cameras"
        Image.fromarray(PIXELS).save(path, exif=exif)
    return path.read_bytes()


KINDS = ["in.jpg", "in.png", "in.webp", "in.bmp", "in.avif", "in.tif", "in.ppm", "in.jp2"]
KINDS += ["deep.png", "deep.tif", "deep.ppm", "planar.tif", "float.tif", "palette.gif", "in.heic"]


@pytest.mark.parametrize("name", KINDS)
def test_probing_tells_the_size(tmp_path: Path, name: str) -> None:
    encoded(tmp_path, name)
    header = probe(tmp_path / name)
    assert (header.width, header.height) == (64, 48)
    assert header.pages == (2 if name == "palette.gif" else 1)


@pytest.mark.parametrize("name", KINDS)
def test_a_truncated_file_is_named(tmp_path: Path, name: str) -> None:
    data = encoded(tmp_path, name)
    path = tmp_path / name
    # Of an animation the first frame alone is read, and that lies in the first half.
    for part in (0.3, 0.4) if name == "palette.gif" else (0.3, 0.6, 0.9):
        path.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(ImageError, match="cannot be read") as raised:
            read_photo(path, max_pixels=None)
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_is_a_photo_or_an_image_error(tmp_path: Path, name: str) -> None:
    data = encoded(tmp_path, name)
    path = tmp_path / name
    rng = np.random.default_rng(7)
    for _ in range(40):
        damaged = bytearray(data)
        # Headers are short, and where damage does most.
        places = np.append(rng.integers(0, min(200, len(data)), 2), rng.integers(0, len(data), 2))
        for place in places:
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            photo = read_photo(path, max_pixels=10_000_000)
        except ImageError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            assert photo.pages[0].pixels.ndim == 3


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("image file is truncated (3 bytes not processed)"), "it is cut short"),
        (EOFError(), "it is cut short"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), "Input/output error"),
        (OSError("decoder error -2"), DAMAGED),
        (OSError("unknown pixel mode"), DAMAGED),
        (SyntaxError("broken PNG file (chunk b'IDAX')"), DAMAGED),
        (TypeError("unsupported operand type(s) for //: 'str' and 'str'"), DAMAGED),
        (IndexError("string index out of range"), DAMAGED),
        (
            ValueError("Unsupported BMP header type (3)"),
            f"{DAMAGED} (Unsupported BMP header type (3))",
        ),
    ],
)
def test_a_reason_speaks_of_the_file_and_not_of_its_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(_stream: object, _word: str) -> None:
        raise error

    path = tmp_path / "photo.png"
    Image.new("RGB", (2, 2)).save(path)
    signature, _ = images.SIGNATURES["png"]
    monkeypatch.setattr(images, "SIGNATURES", {"png": (signature, fail)})
    with pytest.raises(ImageError) as raised:
        read_photo(path, max_pixels=None)
    assert str(raised.value) == f"{path} cannot be read: {reason}."


def test_damaged_exif_does_not_stop_a_photo(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "in.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\0")
    photo = read_photo(tmp_path / "in.jpg", max_pixels=None)
    assert photo.metadata.exif is None
    assert photo.metadata.orientation == 1
    assert "EXIF" in photo.notices[0]


REFUSED = {
    "empty.png": (b"", "is empty"),
    "text.jpg": (b"this is a letter\n" * 9, "not an image"),
    "zero.png": (bytes(2000), "not an image"),
    "raw.nef": (b"no camera wrote this" * 20, "cannot be read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_is_refused(tmp_path: Path, name: str) -> None:
    data, reason = REFUSED[name]
    (tmp_path / name).write_bytes(data)
    for read in (probe, lambda path: read_photo(path, max_pixels=None)):
        with pytest.raises(ImageError, match=reason):
            read(tmp_path / name)


def test_an_image_without_width_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "narrow.tif"
    tifffile.imwrite(path, PIXELS, photometric="rgb")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["ImageWidth"].overwrite(0)
    with pytest.raises(ImageError, match=r"narrow.tif cannot be read"):
        read_photo(path, max_pixels=None)


def test_missing_files_folders_and_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path, reason in (
        (tmp_path / "missing.png", "No such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe.png", "not a regular file"),
    ):
        with pytest.raises(ImageError, match=reason):
            read_photo(path, max_pixels=None)


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("in.nef", "rawpy", "raw"), ("in.heic", "pillow_heif", "heif")],
)
def test_a_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str, extra: str
) -> None:
    (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImageError, match=rf"pip install 'maskdcpt\[{extra}\]'"):
        read_photo(tmp_path / name, max_pixels=None)


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int16", "int8", "complex64"])
def test_pixels_that_are_not_restored_are_refused(tmp_path: Path, dtype: str) -> None:
    tifffile.imwrite(tmp_path / "in.tif", np.ones((8, 8), dtype))
    with pytest.raises(ImageError, match=f"its pixels are {dtype}"):
        read_photo(tmp_path / "in.tif", max_pixels=None)


def test_colours_that_are_not_restored_are_refused(tmp_path: Path) -> None:
    Image.new("LAB", (8, 8)).save(tmp_path / "lab.tif")
    tifffile.imwrite(tmp_path / "deep.tif", DEEP, photometric="cielab")
    (tmp_path / "ten.ppm").write_bytes(b"P6 2 1 1023\n" + bytes(12))
    for name, reason in (
        ("lab.tif", "its pixels are LAB"),
        ("deep.tif", "its uint16 pixels are CIELAB"),
        ("ten.ppm", "its largest value is 1023"),
    ):
        with pytest.raises(ImageError, match=reason):
            read_photo(tmp_path / name, max_pixels=None)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    encoded(tmp_path, "in.png")
    with pytest.raises(ImageError, match=r"3072 pixels are above the limit of 1000 pixels.*--max"):
        read_photo(tmp_path / "in.png", max_pixels=1000)
    data = (tmp_path / "in.png").read_bytes()
    header = b"IHDR" + struct.pack(">II", 30_000, 20_000) + data[24:29]
    bomb = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    (tmp_path / "bomb.png").write_bytes(bomb)
    assert probe(tmp_path / "bomb.png").width == 30_000
    with pytest.raises(ImageError, match="600 megapixels are above the limit of 500 megapixels"):
        read_photo(tmp_path / "bomb.png", max_pixels=500_000_000)


def test_pillows_own_limit_does_not_apply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr(pillow, "BAND", 640)
    for name in ("in.jpg", "in.png", "in.bmp", "in.avif", "in.tif"):
        encoded(tmp_path, name)
        assert read_photo(tmp_path / name, max_pixels=None).pages[0].pixels.shape == (48, 64, 3)


def test_every_page_of_a_tiff_counts_towards_the_limit(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        writer.write(PIXELS[:4])
        writer.write(PIXELS)
    with pytest.raises(ImageError, match="above the limit"):
        read_photo(tmp_path / "in.tif", max_pixels=PIXELS.shape[0] * PIXELS.shape[1])


def test_names_that_are_not_utf8_are_read_written_and_shown(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    for suffix in (".png", ".tif", ".jpg"):
        write_photo(PHOTO, PHOTO.pages, folder / f"photo{suffix}")
        assert read_photo(folder / f"photo{suffix}", max_pixels=None).pages[0].pixels.size
        (folder / f"photo{suffix}").write_bytes(b"")
        with pytest.raises(ImageError) as raised:
            read_photo(folder / f"photo{suffix}", max_pixels=None)
        str(raised.value).encode()


def test_the_longest_name_is_written(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 251 + ".png")
    write_photo(PHOTO, PHOTO.pages, target)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize("word", WRITABLE)
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_result_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, error: BaseException
) -> None:
    target = tmp_path / f"out{WRITABLE[word].suffixes[0]}"
    target.write_bytes(b"the old result")

    def fail(_descriptor: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    expected = ImageError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write_photo(PHOTO, PHOTO.pages, target)
    assert target.read_bytes() == b"the old result"
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for target, reason in (
        (tmp_path / "missing" / "out.png", "No such file"),
        (tmp_path / "file" / "out.png", "Not a directory"),
        (tmp_path / "out.xyz", "choose a suffix from .jpg, .png"),
    ):
        with pytest.raises(ImageError, match=reason) as raised:
            write_photo(PHOTO, PHOTO.pages, target)
        assert str(target) in str(raised.value)


@pytest.mark.parametrize(("word", "side"), [("webp", 16_384), ("jpeg", 65_501)])
def test_what_is_too_large_for_a_format_is_reported(tmp_path: Path, word: str, side: int) -> None:
    page = Page(np.zeros((1, side, 3), np.uint8))
    with pytest.raises(ImageError, match=f"{side}x1; choose another --format"):
        write_photo(PHOTO, [page], tmp_path / f"out{WRITABLE[word].suffixes[0]}")


@pytest.mark.parametrize("word", WRITABLE)
@pytest.mark.parametrize("size", [(1, 1), (1, 70), (70, 1)])
def test_the_smallest_images_pass(tmp_path: Path, word: str, size: tuple[int, int]) -> None:
    page = Page(np.full((*size, 3), 77, np.uint8))
    target = tmp_path / f"out{WRITABLE[word].suffixes[0]}"
    write_photo(PHOTO, [page], target)
    assert read_photo(target, max_pixels=None).pages[0].pixels.shape == (*size, 3)
    assert preview(target, max_side=8).size


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_readable_suffix_has_a_writable_counterpart(suffix: str) -> None:
    assert format_of(result_suffix(suffix)) in WRITABLE
    assert result_suffix(suffix.upper()) == result_suffix(suffix)
    if format_of(suffix) and suffix != ".apng":
        assert result_suffix(suffix) == suffix


@pytest.mark.parametrize("word", [*images.SIGNATURES, "raw"])
def test_every_format_word_has_a_writable_counterpart(word: str) -> None:
    assert format_of(result_suffix(word)) in WRITABLE


def test_raw_and_heic_become_what_keeps_most_of_them() -> None:
    assert (result_suffix(".NEF"), result_suffix("raw")) == (".tiff", ".tiff")
    assert (result_suffix(".heic"), result_suffix("heif"), result_suffix("gif")) == (
        ".jpg",
        ".jpg",
        ".png",
    )
