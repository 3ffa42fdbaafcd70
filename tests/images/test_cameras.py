"""HEIC photos and RAW files, with the extras that read them."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.codecs.xmp import GAIN_MAP
from maskdcpt_cli.images.reading import probe, read_photo
from tests.images.samples import XMP, exif_block, noise, pillow_image, through


def test_a_heic_photo_is_read_upright_at_its_depth(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    pixels = np.full((32, 48, 3), 40_000, np.uint16)
    heif.encode("RGB;16", (48, 32), pixels.tobytes(), tmp_path / "in.heic", exif=exif_block(1))
    photo = read_photo(tmp_path / "in.heic", max_pixels=None)
    assert photo.format == "heif"
    assert photo.pages[0].pixels.dtype == np.uint16
    assert np.abs(photo.pages[0].pixels.astype(int) - 40_000).max() < 1000
    assert photo.metadata.exif is not None
    through(tmp_path / "in.heic", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        assert image.getexif()[271] == "Maker"


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_turned_heic_photo_is_turned_once(tmp_path: Path, orientation: int) -> None:
    heif = pytest.importorskip("pillow_heif")
    image = Image.new("RGB", (64, 48), (0, 0, 200))
    image.paste((200, 0, 0), (0, 0, 32, 48))  # the left half, seen at the top when turned
    heif.from_pillow(image).save(tmp_path / "in.heic", exif=exif_block(orientation))
    through(tmp_path / "in.heic", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as written:
        seen = ImageOps.exif_transpose(written)
    assert seen.size == ((48, 64) if orientation == 6 else (64, 48))
    assert seen.getpixel((8, 8))[0] > 150


def test_a_heic_photo_of_premultiplied_alpha_has_its_colours(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    pixels = np.full((64, 64, 4), (80, 80, 80, 128), np.uint8)  # of 160 at half
    heif.from_bytes("RGBa", (64, 64), pixels.tobytes()).save(tmp_path / "in.heic", quality=95)
    page = read_photo(tmp_path / "in.heic", max_pixels=None).pages[0]
    assert page.alpha is not None
    assert np.abs(page.pixels.astype(int) - 160).max() <= 3


def test_the_gain_map_of_a_heic_photo_is_announced(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.new("RGBA", (64, 64), (9, 90, 200, 128))).save(tmp_path / "in.heic")
    data = (tmp_path / "in.heic").read_bytes()
    found = re.search(rb"urn:[^\0]+", data)
    assert found is not None
    gain_map = b"urn:apple:aux:hdrgainmap".ljust(len(found[0]), b"x")
    (tmp_path / "in.heic").write_bytes(data.replace(found[0], gain_map))
    assert GAIN_MAP in read_photo(tmp_path / "in.heic", max_pixels=None).notices


def dng(path: Path, *, xmp: bytes = XMP) -> None:
    """A small digital negative: an evenly lit sensor, every tag LibRaw asks for."""
    matrix = [int(v * 10000) for v in (3.24, -1.54, -0.5, -0.97, 1.88, 0.04, 0.06, -0.2, 1.06)]
    rational = [part for value in matrix for part in (value, 10000)]
    tags = [
        (271, 2, 6, "Maker", True),
        (272, 2, 6, "Model", True),
        (33421, 3, 2, (2, 2), True),
        (33422, 1, 4, bytes([0, 1, 1, 2]), True),
        (700, 1, len(xmp), xmp, True),
        (50706, 1, 4, bytes([1, 4, 0, 0]), True),
        (50708, 2, 6, "Model", True),
        (50714, 4, 1, 0, True),
        (50717, 4, 1, 65535, True),
        (50721, 10, 9, tuple(rational), True),
        (50728, 5, 3, (1, 1, 1, 1, 1, 1), True),
        (50778, 3, 1, 21, True),
    ]
    sensor = np.full((64, 96), 20_000, np.uint16)
    sensor[16:48, 24:72] = 50_000
    tifffile.imwrite(path, sensor, photometric="cfa", extratags=tags, metadata=None)


def test_a_raw_file_is_developed_to_16_bits(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    dng(tmp_path / "in.dng")
    photo = read_photo(tmp_path / "in.dng", max_pixels=None)
    assert (photo.format, probe(tmp_path / "in.dng").format) == ("raw", "raw")
    assert photo.pages[0].pixels.dtype == np.uint16
    assert photo.pages[0].pixels.shape == (64, 96, 3)
    assert photo.pages[0].pixels[32, 48].mean() > photo.pages[0].pixels[4, 4].mean()
    assert photo.notices == ()
    assert photo.metadata.xmp == XMP
    through(tmp_path / "in.dng", tmp_path / "out.tiff")
    with Image.open(io.BytesIO((tmp_path / "out.tiff").read_bytes())) as image:
        assert re.match("Maker", image.getexif()[271])


def test_a_raw_file_is_upright_in_its_xmp_too(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    bound = b'<a xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
    turned = XMP.replace(b"<a>", bound + b' tiff:Orientation="6">')
    dng(tmp_path / "in.dng", xmp=turned)
    xmp = read_photo(tmp_path / "in.dng", max_pixels=None).metadata.xmp
    assert xmp == XMP.replace(b"<a>", bound + b">")


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif", "heic"])
@pytest.mark.parametrize("named", [".dng", ".NEF"])
def test_content_decides_where_the_name_says_raw(tmp_path: Path, kind: str, named: str) -> None:
    if kind == "heic":
        heif = pytest.importorskip("pillow_heif")
        heif.from_pillow(pillow_image("RGB")).save(tmp_path / "in.heic")
    else:
        pillow_image("RGB").save(tmp_path / f"in.{kind}")
    if kind in {"tif", "heic"}:
        pytest.importorskip("rawpy")
    (tmp_path / f"in.{kind}").rename(tmp_path / f"in{named}")
    photo = read_photo(tmp_path / f"in{named}", max_pixels=None)
    assert photo.pages[0].pixels.shape == (13, 21, 3)
    assert photo.format == {"jpg": "jpeg", "tif": "tiff", "heic": "heif"}.get(kind, kind)
    assert photo.notices == (
        f"It is named {named}, and is read as what it is: {photo.format.upper()}.",
    )


def test_what_is_no_raw_file_but_named_so_is_refused_for_what_it_is(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    with tifffile.TiffWriter(tmp_path / "in.nef") as writer:
        writer.write(np.zeros((8, 8), np.uint8), subfiletype=1)
    with pytest.raises(ImageError, match="it has no page but thumbnails and masks"):
        read_photo(tmp_path / "in.nef", max_pixels=None)
    (tmp_path / "in.nef").write_bytes(b"no image at all" * 9)
    with pytest.raises(ImageError, match="its content is damaged, or of a kind that is not read"):
        read_photo(tmp_path / "in.nef", max_pixels=None)


@pytest.mark.parametrize(
    "tags", [[(271, "s", 0, "Maker", True)], [(50706, "B", 4, b"\1\4\0\0", True)]]
)
def test_the_preview_of_a_raw_file_that_is_not_known_is_not_taken_for_the_photo(
    tmp_path: Path, tags: list[tuple[object, ...]]
) -> None:
    pytest.importorskip("rawpy")
    tifffile.imwrite(tmp_path / "in.cr2", noise(3, "uint8"), photometric="rgb", extratags=tags)
    with pytest.raises(ImageError, match="its content is damaged, or of a kind that is not read"):
        read_photo(tmp_path / "in.cr2", max_pixels=None)


def test_a_lack_of_memory_for_a_raw_file_is_reported_as_such(tmp_path: Path, monkeypatch) -> None:
    rawpy = pytest.importorskip("rawpy")

    def full(_stream: object) -> None:
        raise rawpy.LibRawUnsufficientMemoryError(b"Unsufficient memory")

    monkeypatch.setattr(rawpy, "imread", full)
    tifffile.imwrite(tmp_path / "in.dng", noise(3, "uint8"), photometric="rgb")
    with pytest.raises(ImageError, match="more memory"):
        read_photo(tmp_path / "in.dng", max_pixels=None)
