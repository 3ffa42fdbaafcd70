"""Formats that few files have: JPEG 2000, PNM, PFM, and PNGs of few bits."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.codecs import png, tiff
from maskdcpt_cli.images.reading import Metadata, Page, preview, read_photo, read_rgb
from tests.images.samples import SRGB, noise, through


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_transparent_grey_of_few_bits_becomes_alpha(tmp_path: Path, bits: int) -> None:
    key = 2**bits - 2  # the last but one
    row = (
        bytes([0])
        + np.packbits([int(b) for v in (key, key + 1) for b in f"{v:0{bits}b}"]).tobytes()
    )
    header = struct.pack(">IIBBBBB", 2, 1, bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"tRNS", struct.pack(">H", key)))
    chunks += ((b"IDAT", zlib.compress(row)), (b"IEND", b""))
    with (tmp_path / "in.png").open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in chunks:
            check = zlib.crc32(name + data)
            file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", check))
    alpha = read_photo(tmp_path / "in.png", max_pixels=None).pages[0].alpha
    assert alpha is not None
    assert alpha.tolist() == [[0, 255]]


@pytest.mark.parametrize("kind", ["ppm", "pgm", "jp2"])
def test_16_bit_files_of_rarer_formats_are_read_at_their_depth(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"in.{kind}"
    pixels = cv2.resize(noise(1 if kind == "pgm" else 3, "uint16"), (256, 256)).reshape(
        256, 256, -1
    )
    assert cv2.imwrite(str(path), pixels)
    page = read_photo(path, max_pixels=None).pages[0]
    assert page.pixels.dtype == np.uint16
    expected = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).reshape(pixels.shape)
    np.testing.assert_array_equal(page.pixels, expected[..., ::-1])


def test_a_jpeg_2000_of_16_bits_with_highlights_is_read(tmp_path: Path) -> None:
    pixels = np.full((128, 96, 3), 30000, np.uint16)
    pixels[40:80, 30:60] = 65535
    assert cv2.imwrite(str(tmp_path / "in.jp2"), pixels)
    read = read_photo(tmp_path / "in.jp2", max_pixels=None).pages[0].pixels
    assert np.abs(read.astype(int) - pixels).max() < 300


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bits", [10, 11, 12, 14])
def test_a_jpeg_2000_of_fewer_bits_is_read_over_the_whole_range(
    tmp_path: Path, bits: int, channels: int
) -> None:
    values = np.linspace(0, 2**bits - 1, 96).astype(np.uint16)
    pixels = np.broadcast_to(values[None, :, None], (64, 96, channels))
    shifted = pixels.astype(np.int32) - 2 ** (bits - 1) + 32768  # of unsigned samples, by their DC
    lossless = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]
    assert cv2.imwrite(str(tmp_path / "in.jp2"), shifted.astype(np.uint16), lossless)
    data = (tmp_path / "in.jp2").read_bytes()
    siz = data.index(b"\xff\x51")
    for channel in range(channels):
        at = siz + 40 + 3 * channel
        data = data[:at] + bytes([bits - 1]) + data[at + 1 :]
    header = data.index(b"ihdr") + 4 + 10
    (tmp_path / "in.jp2").write_bytes(data[:header] + bytes([bits - 1]) + data[header + 1 :])
    (page,) = read_photo(tmp_path / "in.jp2", max_pixels=None).pages
    expected = np.rint(pixels * (65535 / (2**bits - 1)))
    np.testing.assert_array_equal(page.pixels, expected[..., :3])
    if channels == 4:
        np.testing.assert_array_equal(page.alpha, expected[..., 3])
    else:
        assert page.alpha is None


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("bits", [10, 12])
def test_white_and_opaque_of_a_deep_heic_reach_the_end_of_the_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int, mode: str
) -> None:
    heif = pytest.importorskip("pillow_heif")
    monkeypatch.setattr(heif.options, "SAVE_HDR_TO_12_BIT", bits == 12)
    white = np.full((48, 64, len(mode)), 65535, np.uint16)
    image = heif.from_bytes(mode=f"{mode};16", size=(64, 48), data=white.tobytes())
    image.save(tmp_path / "in.heic", quality=-1)
    assert heif.open_heif(tmp_path / "in.heic").info["bit_depth"] == bits
    (page,) = read_photo(tmp_path / "in.heic", max_pixels=None).pages
    np.testing.assert_array_equal(page.pixels, white[..., :3])
    assert (page.alpha is None) == (mode != "RGBA")
    assert page.alpha is None or page.alpha.min() == 65535


@pytest.mark.parametrize("alpha", [0, 128])
def test_an_alpha_of_a_bmp_that_is_not_used_hides_nothing(tmp_path: Path, alpha: int) -> None:
    colours = noise(3, "uint8")
    height, width = colours.shape[:2]
    rows = np.dstack([colours[::-1, :, ::-1], np.full((height, width), alpha, np.uint8)])
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, rows.nbytes, 0, 0, 0, 0)
    head += masks + b"BGRs" + bytes(48)
    size = 14 + len(head)
    (tmp_path / "in.bmp").write_bytes(
        b"BM" + struct.pack("<IHHI", size + rows.nbytes, 0, 0, size) + head + rows.tobytes()
    )
    (page,) = read_photo(tmp_path / "in.bmp", max_pixels=None).pages
    assert np.array_equal(page.pixels, colours)
    assert (page.alpha is None) == (alpha == 0)


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_the_depth_that_an_avif_loses_is_announced(tmp_path: Path, bits: int) -> None:
    pixels = cv2.resize(noise(3, "uint16" if bits > 8 else "uint8"), (64, 48))
    assert cv2.imwrite(str(tmp_path / "in.avif"), pixels, [cv2.IMWRITE_AVIF_DEPTH, bits])
    notices = read_photo(tmp_path / "in.avif", max_pixels=None).notices
    announced = (f"AVIF of {bits} bits per channel: it is read at 8.",)
    assert notices == (announced if bits > 8 else ())


@pytest.mark.parametrize("name", ["thumbnail.tif", "float.tif", "turned.avif", "turned.jpg"])
def test_a_training_image_is_what_a_photo_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    pixels = cv2.GaussianBlur(cv2.resize(noise(3, "uint8"), (64, 48)), (0, 0), 4)
    if path.suffix == ".tif":
        with tifffile.TiffWriter(path) as writer:
            if name == "thumbnail.tif":
                writer.write(pixels[:20, :30], subfiletype=1)
            writer.write(np.float32(pixels) / 255 if name == "float.tif" else pixels)
    else:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(pixels).save(path, exif=exif, quality=95)
    rgb, expected = read_rgb(path), preview(path, max_side=None)
    assert rgb.shape == expected.shape
    assert np.abs(np.int16(rgb) - expected).mean() < 1


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [2, 4])
def test_a_training_image_is_not_multiplied_by_its_alpha(
    tmp_path: Path, channels: int, dtype: str
) -> None:
    stored = noise(channels, dtype)
    page = Page(stored[..., :-1], stored[..., -1])
    with (tmp_path / "in.png").open("wb") as stream:
        png.write(stream, page, Metadata())
    with (tmp_path / "in.tif").open("w+b") as stream:
        tiff.write(stream, [page], Metadata())
    of_png, of_tiff = (read_rgb(tmp_path / name).astype(int) for name in ("in.png", "in.tif"))
    rounding = 1 if dtype == "uint16" else 0  # of 16 bits to 8, which differs by decoder
    assert np.abs(of_png - of_tiff).max() <= rounding


def jp2_with(path: Path, *boxes: tuple[bytes, bytes], header: bytes = b"") -> None:
    """Write a JPEG 2000 file of 16 bits with boxes before its codestream, and in its header."""
    assert cv2.imwrite(str(path), cv2.resize(noise(3, "uint16"), (256, 256)))
    data = path.read_bytes()
    at = data.index(b"jp2h") - 4
    (length,) = struct.unpack(">I", data[at : at + 4])
    whole = struct.pack(">I", length + len(header)) + data[at + 4 : at + length] + header
    more = b"".join(struct.pack(">I", 8 + len(box)) + name + box for name, box in boxes)
    path.write_bytes(data[:at] + whole + more + data[at + length :])


def test_the_depth_of_jpeg_2000_is_found_behind_other_boxes(tmp_path: Path) -> None:
    boxes = [(b"uuid", bytes(70_000)), (b"uuid", b"\xff\x51" + bytes(100))]
    jp2_with(tmp_path / "in.jp2", *boxes)
    photo = read_photo(tmp_path / "in.jp2", max_pixels=None)
    assert photo.pages[0].pixels.dtype == np.uint16
    assert photo.notices == ("The metadata of a JPEG 2000 file, as EXIF and XMP, are left out.",)


def test_the_profile_of_jpeg_2000_is_read(tmp_path: Path) -> None:
    profile = struct.pack(">I", 8 + 3 + len(SRGB)) + b"colr" + b"\2\0\0" + SRGB
    jp2_with(tmp_path / "in.jp2", header=profile)
    photo = read_photo(tmp_path / "in.jp2", max_pixels=None)
    assert photo.metadata.icc == SRGB
    through(tmp_path / "in.jp2", tmp_path / "out.png")
    assert read_photo(tmp_path / "out.png", max_pixels=None).metadata.icc == SRGB


@pytest.mark.parametrize("maxval", [100, 255, 1023, 4095, 65535])
def test_a_pgm_of_any_maxval_trains_as_it_is_restored(tmp_path: Path, maxval: int) -> None:
    values = np.linspace(0, maxval, 64).round().astype(">u2" if maxval > 255 else "u1")
    (tmp_path / "in.pgm").write_bytes(b"P5 64 1 %d\n" % maxval + values.tobytes())
    expected = values.astype(np.float64)[:, None] * 255 / maxval
    assert np.abs(read_rgb(tmp_path / "in.pgm")[0] - expected).max() <= 1


def test_a_ppm_of_another_maxval_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.ppm").write_bytes(b"P6 1 1 100\n" + bytes(3))
    for read in (read_rgb, read_photo):
        with pytest.raises(ImageError, match="its largest value is 100, not 255 or 65535"):
            read(tmp_path / "in.ppm")


def test_a_pfm_trains_as_it_is_restored(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 64, dtype="<f4")
    (tmp_path / "in.pfm").write_bytes(b"Pf\n64 1\n-1.0\n" + values.tobytes())
    assert np.abs(read_rgb(tmp_path / "in.pfm")[0] - 255 * values[:, None]).max() <= 1
