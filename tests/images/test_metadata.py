"""Metadata come back from reading and writing."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageOps

from maskdcpt_cli.images.codecs import ifd, tiff
from maskdcpt_cli.images.reading import Metadata, Page, Photo, probe, read_photo
from maskdcpt_cli.images.writing import write_photo
from tests.images.samples import (
    EXIF_TAGS,
    SHAPE,
    SRGB,
    XMP,
    exif_block,
    noise,
    pillow_image,
    through,
    with_metadata,
)

CARRIERS = ["jpg", "png", "webp", "tiff", "avif"]


@pytest.mark.parametrize("source", CARRIERS)
@pytest.mark.parametrize("target", CARRIERS)
def test_metadata_survives_from_format_to_format(tmp_path: Path, source: str, target: str) -> None:
    with_metadata(tmp_path / f"in.{source}", orientation=6)
    assert through(tmp_path / f"in.{source}", tmp_path / f"out.{target}") == ()
    with Image.open(tmp_path / f"out.{target}") as image:
        orientation = image.getexif()[274]  # Pillow forgets that of a TIFF while it loads it
        image.load()
        assert image.info["icc_profile"] == SRGB
        xmp = image.info.get("xmp") or image.info["XML:com.adobe.xmp"].encode()
        assert xmp == XMP
        exif = image.getexif()
        assert {tag: exif[tag] for tag in EXIF_TAGS} == EXIF_TAGS
        assert orientation == 6
        camera, place = exif.get_ifd(34665), exif.get_ifd(34853)
        assert camera[33434] == 0.5
        assert camera[37500] == b"maker's own\0notes"
        assert place[2] == (48.0, 12.0, 30.5)
        if {source, target} <= {"jpg", "png", "tiff"}:
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)


def test_exif_is_carried_byte_for_byte(tmp_path: Path) -> None:
    with_metadata(tmp_path / "in.jpg")
    through(tmp_path / "in.jpg", tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.info["exif"] == exif_block()


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_deep_tiff_keeps_its_metadata(tmp_path: Path, dtype: str) -> None:
    with_metadata(tmp_path / "meta.tiff", orientation=8)
    about = read_photo(tmp_path / "meta.tiff", max_pixels=None).metadata
    page = Page(noise(3, dtype))
    photo = Photo(Path("x"), "tiff", (page,), metadata=about)
    write_photo(photo, [page], tmp_path / "deep.tiff")
    again = read_photo(tmp_path / "deep.tiff", max_pixels=None)
    assert again.metadata == about
    assert again.metadata.orientation == 8
    np.testing.assert_array_equal(again.pages[0].pixels, page.pixels)


def test_big_endian_exif_goes_into_a_big_endian_tiff(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.endian = ">"
    exif.update({**EXIF_TAGS, 274: 3, 34665: {33434: 0.25}})
    pillow_image("RGB").save(tmp_path / "in.png", exif=exif)
    through(tmp_path / "in.png", tmp_path / "out.tiff")
    assert (tmp_path / "out.tiff").read_bytes()[:2] == b"MM"
    again = read_photo(tmp_path / "out.tiff", max_pixels=None)
    np.testing.assert_array_equal(again.pages[0].pixels, noise(3, "uint8"))
    with Image.open(tmp_path / "out.tiff") as image:
        assert image.getexif()[274] == 3
        assert image.getexif().get_ifd(34665)[33434] == 0.25


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_files_beyond_four_gigabytes_are_big_tiff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.setattr(tiff, "CLASSIC_LIMIT", 0)
    with_metadata(tmp_path / "in.jpg", orientation=6)
    about = read_photo(tmp_path / "in.jpg", max_pixels=None).metadata
    pages = [Page(noise(3, dtype)), Page(noise(1, dtype))]
    photo = Photo(Path("x"), "tiff", tuple(pages), metadata=about)
    write_photo(photo, pages, tmp_path / "out.tiff")
    with tifffile.TiffFile(tmp_path / "out.tiff") as file:
        assert file.is_bigtiff
        for page, found in zip(pages, file.pages, strict=True):
            np.testing.assert_array_equal(found.asarray().reshape(page.pixels.shape), page.pixels)
        assert file.pages[0].tags[34665].value["ExposureTime"] == 0.5
    assert read_photo(tmp_path / "out.tiff", max_pixels=None).metadata.orientation == 6


def with_thumbnail() -> bytes:
    """Return an EXIF block with a second directory, of a thumbnail."""
    layout = ifd.Layout("<")
    first = {271: ifd.Field(2, b"Maker\0")}
    at = 8 + len(ifd.pack(first, layout, 8))
    block = layout.header(8) + ifd.pack(first, layout, 8)
    link = 8 + 2 + 12
    block = block[:link] + struct.pack("<I", at) + block[link + 4 :]
    buffer = io.BytesIO()
    pillow_image("RGB").save(buffer, "JPEG")
    thumbnail = buffer.getvalue()
    second = {259: ifd.Field(3, struct.pack("<H", 6))}
    second |= {513: ifd.Field(4, struct.pack("<I", at + 2 + 3 * 12 + 4))}
    second |= {514: ifd.Field(4, struct.pack("<I", len(thumbnail)))}
    return block + ifd.pack(second, layout, at) + thumbnail


@pytest.mark.parametrize("word", ["jpg", "png", "webp"])
def test_the_thumbnail_of_the_photo_as_it_was_is_left_out(tmp_path: Path, word: str) -> None:
    pillow_image("RGB").save(tmp_path / f"in.{word}", exif=b"Exif\0\0" + with_thumbnail())
    with Image.open(tmp_path / f"in.{word}") as image:
        assert image.getexif().get_ifd(ExifTags.IFD.IFD1)
    through(tmp_path / f"in.{word}", tmp_path / f"out.{word}")
    with Image.open(tmp_path / f"out.{word}") as image:
        assert image.getexif()[271] == "Maker"
        assert not image.getexif().get_ifd(ExifTags.IFD.IFD1)
    assert ifd.without_thumbnail(b"II*\0") == b"II*\0"


def test_exif_with_which_no_avif_is_written_is_left_out(tmp_path: Path) -> None:
    fields = {274: ifd.Field(3, struct.pack("<H", 6)), 296: ifd.Field(5, struct.pack("<II", 2, 1))}
    block = ifd.block(fields, ifd.Layout("<"))
    pillow_image("RGB").save(tmp_path / "in.jpg", exif=b"Exif\0\0" + block)
    (notice,) = through(tmp_path / "in.jpg", tmp_path / "out.avif")
    assert notice == "EXIF of an unusual form, with which no AVIF is written, is left out."
    with Image.open(tmp_path / "out.avif") as image:
        assert image.size == SHAPE, "upright"
        assert not image.getexif()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("word", ["jpg", "png", "tiff", "webp", "avif"])
def test_orientation_is_kept_and_pixels_stay_as_stored(
    tmp_path: Path, word: str, orientation: int
) -> None:
    source, target = tmp_path / f"in.{word}", tmp_path / f"out.{word}"
    with_metadata(source, orientation=orientation)
    photo = read_photo(source, max_pixels=None)
    assert photo.metadata.orientation == orientation
    assert photo.pages[0].pixels.shape[:2] == SHAPE
    through(source, target)
    with Image.open(target) as image:
        assert image.getexif().get(274, 1) == orientation
        assert probe(target).width == SHAPE[1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("word", "strip"), [("bmp", False), ("png", True), ("tiff", True)])
def test_pixels_are_turned_where_the_orientation_cannot_be_kept(
    tmp_path: Path, word: str, strip: bool, orientation: int
) -> None:
    with_metadata(tmp_path / "in.png", orientation=orientation)
    through(tmp_path / "in.png", tmp_path / f"out.{word}", strip=strip)
    with Image.open(tmp_path / "in.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    with Image.open(tmp_path / f"out.{word}") as image:
        assert 274 not in image.getexif()
        np.testing.assert_array_equal(np.asarray(image), expected)


@pytest.mark.parametrize("word", CARRIERS)
def test_strip_leaves_nothing_but_the_image(tmp_path: Path, word: str) -> None:
    with_metadata(tmp_path / "in.png")
    through(tmp_path / "in.png", tmp_path / f"out.{word}", strip=True)
    about = read_photo(tmp_path / f"out.{word}", max_pixels=None).metadata
    assert (about.exif, about.icc, about.xmp) == (None, None, None)


@pytest.mark.parametrize("kind", ["EXIF", "XMP"])
def test_what_is_too_long_for_a_jpeg_is_reported(tmp_path: Path, kind: str) -> None:
    page = Page(noise(3, "uint8"))
    long = exif_block()[6:] + bytes(70_000) if kind == "EXIF" else XMP + b" " * 70_000
    about = Metadata(exif=long) if kind == "EXIF" else Metadata(xmp=long)
    photo = Photo(Path("x"), "png", (page,), metadata=about)
    [notice] = write_photo(photo, [page], tmp_path / "out.jpg")
    assert notice == f"{kind} larger than a JPEG holds is left out."
    assert write_photo(photo, [page], tmp_path / "out.png") == ()
    assert read_photo(tmp_path / "out.png", max_pixels=None).metadata == about


def test_a_photo_whose_exif_is_too_long_for_a_jpeg_is_upright(tmp_path: Path) -> None:
    page = Page(noise(3, "uint8"))
    about = Metadata(exif=exif_block(6)[6:] + bytes(70_000), orientation=6)
    write_photo(Photo(Path("x"), "png", (page,), metadata=about), [page], tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.size == page.pixels.shape[:2]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_exif_that_claims_more_entries_than_it_has_is_kept(tmp_path: Path) -> None:
    fields = {271: ifd.Field(2, b"Ann\0"), 274: ifd.Field(3, struct.pack("<H", 6))}
    block = bytearray(ifd.block(fields, ifd.Layout("<")))
    struct.pack_into("<H", block, 8, 40)
    pillow_image("RGB").save(tmp_path / "in.jpg", exif=b"Exif\0\0" + block)
    photo = read_photo(tmp_path / "in.jpg", max_pixels=None)
    assert (photo.metadata.exif, photo.metadata.orientation) == (block, 6)
    assert photo.notices == ()
    through(tmp_path / "in.jpg", tmp_path / "out.tif")
    assert read_photo(tmp_path / "out.tif", max_pixels=None).metadata.orientation == 6


@pytest.mark.parametrize("field_type", [ifd.SHORT, ifd.RATIONAL])
def test_entries_without_a_value_do_not_stop_a_photo(tmp_path: Path, field_type: int) -> None:
    block = ifd.block({274: ifd.Field(field_type, b"")}, ifd.Layout("<"))
    pillow_image("RGB").save(tmp_path / "in.jpg", exif=b"Exif\0\0" + block)
    assert read_photo(tmp_path / "in.jpg", max_pixels=None).metadata.orientation == 1
    pillow_image("RGB").save(tmp_path / "in.tif", dpi=(300, 300))
    with tifffile.TiffFile(tmp_path / "in.tif", mode="r+") as file:
        at = file.pages[0].tags[282].offset
    data = bytearray((tmp_path / "in.tif").read_bytes())
    struct.pack_into("<HI", data, at + 2, field_type, 0)
    (tmp_path / "in.tif").write_bytes(data)
    assert read_photo(tmp_path / "in.tif", max_pixels=None).metadata.dpi is None
