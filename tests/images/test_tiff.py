"""TIFF files as scanners, cameras and libraries write them."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.arrays import Native
from maskdcpt_cli.images.codecs import cicp, ifd
from maskdcpt_cli.images.reading import Page, read_photo, read_rgb
from tests.images.samples import SHAPE, SRGB, noise, pillow_image, through

GREY = cicp.from_gamma(0.5, None, grey=True)


def grey_tiff(values: Native, *, bits: int, photometric: int | None = 1) -> bytes:
    """Return a TIFF of one strip of grey values, `bits` of each."""
    height, width = values.shape
    words = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(height, width, 2), axis=2)
    data = np.packbits(words[..., 16 - bits :].reshape(height, -1), axis=1).tobytes()
    data += b"\0" * (len(data) % 2)
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8}
    tags |= {277: 1, 278: height, 279: len(data)}
    entries = [struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags.items() if value]
    directory = struct.pack(">H", len(entries)) + b"".join(entries) + bytes(4)
    return b"MM\0*" + struct.pack(">I", 8 + len(data)) + data + directory


def read(path: Path) -> Page:
    return read_photo(path, max_pixels=None).pages[0]


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_all_depths_reach_white(tmp_path: Path, bits: int) -> None:
    peak = 2**bits - 1
    values = np.linspace(0, peak, 16 * 20).reshape(16, 20).round()
    (tmp_path / "in.tif").write_bytes(grey_tiff(values, bits=bits))
    expected = np.rint(values * (65535 / peak))
    np.testing.assert_array_equal(read(tmp_path / "in.tif").pixels[..., 0], expected)


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_without_a_colour_model_black_is_the_smallest_value(tmp_path: Path, bits: int) -> None:
    values = np.random.default_rng(0).integers(0, 2**bits, (16, 20))
    (tmp_path / "in.tif").write_bytes(grey_tiff(values, bits=bits, photometric=None))
    found = read(tmp_path / "in.tif").pixels[..., 0]
    np.testing.assert_array_equal(found, values * (255 if bits == 1 else 1))


@pytest.mark.parametrize("place", ["first", "second"])
def test_directories_in_a_loop_are_refused(tmp_path: Path, place: str) -> None:
    path = tmp_path / "loop.tif"
    with tifffile.TiffWriter(path) as writer:
        for seed in (1, 2):
            writer.write(noise(3, "uint8", seed=seed), photometric="rgb")
    with tifffile.TiffFile(path) as file:
        first, second = file.pages[0].offset, file.pages[1].offset
    data = bytearray(path.read_bytes())
    link = second + 2 + 12 * struct.unpack_from("<H", data, second)[0]
    struct.pack_into("<I", data, link, first if place == "first" else second)
    path.write_bytes(data)
    with pytest.raises(ImageError, match="points back to an earlier one"):
        read_photo(path, max_pixels=None)


@pytest.mark.parametrize("form", ["uint8", "uint16", "lzw"])
def test_a_channel_that_is_no_alpha_is_dropped(tmp_path: Path, form: str) -> None:
    source = tmp_path / "in.tif"
    pixels = noise(4, "uint8" if form == "lzw" else form)
    if form == "lzw":
        Image.fromarray(pixels).save(source, compression="tiff_lzw")
    else:
        tifffile.imwrite(source, pixels, photometric="rgb", extrasamples=["unassalpha"])
    with tifffile.TiffFile(source, mode="r+") as file:
        file.pages[0].tags[338].overwrite(0)
    photo = read_photo(source, max_pixels=None)
    np.testing.assert_array_equal(photo.pages[0].pixels, pixels[..., :3])
    assert photo.pages[0].alpha is None
    assert photo.notices == ("Channels beside the colours are dropped: 1.",)


def test_the_fields_of_a_scan_are_kept(tmp_path: Path) -> None:
    fields = {269: "Album 3", 285: "Sheet 12", 297: (2, 12), 33550: (0.5, 0.5, 0.0)}
    fields |= {42113: "0"}
    resources = {34377: b"8BIM\x07\xd0\0\0\0\0\0\2ab"}
    pillow_image("RGB").save(tmp_path / "in.tif", tiffinfo=fields | resources)
    notice = "The resources of Photoshop, as paths and guides, are left out."
    assert read_photo(tmp_path / "in.tif", max_pixels=None).notices == (notice,)
    assert through(tmp_path / "in.tif", tmp_path / "out.tif") == ()
    with Image.open(tmp_path / "out.tif") as image:
        assert {tag: image.tag_v2[tag] for tag in fields} == fields


def test_the_fields_of_several_pages_are_left_out_with_a_notice(tmp_path: Path) -> None:
    pages = [pillow_image("RGB"), pillow_image("L")]
    options = {"tiffinfo": {269: "Album 3", 285: "Sheet 12"}}
    pages[0].save(tmp_path / "in.tif", save_all=True, append_images=pages[1:], **options)
    photo = read_photo(tmp_path / "in.tif", max_pixels=None)
    assert photo.notices == ("The names and numbers of its pages are left out.",)
    through(tmp_path / "in.tif", tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as image:
        assert image.tag_v2[269] == "Album 3"
        assert 285 not in image.tag_v2


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".jpg", ".webp"])
def test_a_resolution_without_sense_is_left_out(tmp_path: Path, suffix: str) -> None:
    resolution = (0xFFFFFFFF, 1)
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        writer.write(noise(3, "uint8"), photometric="rgb", resolution=(resolution, resolution))
    through(tmp_path / "in.tif", tmp_path / f"out{suffix}")
    with Image.open(tmp_path / f"out{suffix}") as image:
        assert max(image.info.get("dpi", (0, 0))) < 1e5


@pytest.mark.parametrize("pointer", [4, 13, 16, 18])
def test_the_exif_of_a_bigtiff_is_found_whatever_the_type_of_its_pointer(pointer: int) -> None:
    layout = ifd.Layout("<", big=True)
    inner = {36867: ifd.Field(2, b"2026:01:01 00:00:00\0")}
    whole = ifd.pack({34665: inner}, layout, 16)
    entry = struct.pack("<HH", 34665, 16)
    assert entry in whole
    data = layout.header(16) + whole.replace(entry, struct.pack("<HH", 34665, pointer))
    _layout, found = ifd.read(io.BytesIO(data), frozenset({34665}))
    assert found[34665] == inner


@pytest.mark.parametrize("big", [False, True])
def test_the_metadata_are_those_of_the_photo_not_of_a_thumbnail_before_it(
    tmp_path: Path, big: bool
) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif", bigtiff=big) as writer:
        writer.write(noise(3, "uint8")[:4], photometric="rgb", subfiletype=1, metadata=None)
        tags = [(274, 3, 1, 6, True), (315, 2, 0, "Artist", True), (34675, 7, 0, SRGB, True)]
        writer.write(noise(3, "uint8"), photometric="rgb", extratags=tags, metadata=None)
    metadata = read_photo(tmp_path / "in.tif", max_pixels=None).metadata
    assert metadata.icc == SRGB
    assert metadata.orientation == 6
    assert metadata.exif is not None
    assert b"Artist" in metadata.exif


def test_pages_that_differ_in_profile_or_resolution_are_announced(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        for channels, dpi in ((1, 300), (3, 600)):
            writer.write(
                noise(channels, "uint8").squeeze(),
                photometric="rgb" if channels == 3 else "minisblack",
                resolution=(dpi, dpi),
                resolutionunit="INCH",
                extratags=[(34675, 7, 0, SRGB if channels == 3 else GREY, True)],
                metadata=None,
            )
    photo = read_photo(tmp_path / "in.tif", max_pixels=None)
    assert photo.notices == (
        "Its pages differ in colour profile or resolution: those of the first one count.",
    )
    through(tmp_path / "in.tif", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        profiles = [page.tags.valueof(34675) for page in file.pages]
    assert profiles == [GREY, None]


def test_layers_and_other_orientations_of_pages_are_announced(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        for turn in (1, 3):
            tags = [(274, 3, 1, turn, True), (37724, 7, 8, b"8BIMLayr", True)]
            writer.write(noise(3, "uint8"), photometric="rgb", extratags=tags, metadata=None)
    assert read_photo(tmp_path / "in.tif", max_pixels=None).notices == (
        "The layers of Photoshop are left out: the flattened image is restored.",
        "Its pages differ in orientation: that of the first one counts.",
    )


def test_masks_are_no_pages_and_are_announced(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        writer.write(noise(3, "uint8"), photometric="rgb", metadata=None)
        writer.write(noise(1, "uint8")[..., 0], subfiletype=2, metadata=None)
    with tifffile.TiffFile(tmp_path / "in.tif", mode="r+") as file:
        file.pages[1].tags[254].overwrite(4)
    photo = read_photo(tmp_path / "in.tif", max_pixels=None)
    assert len(photo.pages) == 1
    assert photo.notices == ("Its transparency masks are left out.",)


def test_a_colour_map_of_8_bits_is_read(tmp_path: Path) -> None:
    image = pillow_image("P")
    image.save(tmp_path / "in.tif")
    with tifffile.TiffFile(tmp_path / "in.tif", mode="r+") as file:
        colours = file.pages[0].tags[320]
        colours.overwrite([value // 256 for value in colours.value.ravel().tolist()])
    np.testing.assert_array_equal(read(tmp_path / "in.tif").pixels, image.convert("RGB"))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_page_that_lists_too_few_strips_is_refused(
    tmp_path: Path, dtype: str, compression: str | None
) -> None:
    options = {"photometric": "rgb", "rowsperstrip": 5, "compression": compression}
    tifffile.imwrite(tmp_path / "in.tif", noise(3, dtype), **options)
    with tifffile.TiffFile(tmp_path / "in.tif", mode="r+") as file:
        for tag in (273, 279):
            listed = file.pages[0].tags[tag]
            listed.overwrite(listed.value[:2])
    with pytest.raises(ImageError, match="parts of its pixels are missing"):
        read_photo(tmp_path / "in.tif", max_pixels=None)


def test_one_strip_of_all_rows_is_read_whatever_number_of_rows_it_states(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", noise(3, "uint8"), photometric="rgb")
    with tifffile.TiffFile(tmp_path / "in.tif", mode="r+") as file:
        file.pages[0].tags[278].overwrite(5)
    np.testing.assert_array_equal(read(tmp_path / "in.tif").pixels, noise(3, "uint8"))


def lzw(data: bytes) -> bytes:
    """Return data as LZW codes of 9 bits each, as the table is cleared before each byte."""
    codes = [code for value in data for code in (256, value)] + [257]
    digits = "".join(f"{code:09b}" for code in codes)
    return int(digits.ljust(-(-len(digits) // 8) * 8, "0"), 2).to_bytes(-(-len(digits) // 8), "big")


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_of_grey_in_two_planes_of_lzw_the_alpha_is_no_guess(tmp_path: Path, extra: int) -> None:
    planes = np.moveaxis(noise(2, "uint8"), -1, 0)
    options = {"photometric": "minisblack", "planarconfig": "separate", "metadata": None}
    tifffile.imwrite(tmp_path / "in.tif", planes, extrasamples=[extra], **options)
    at = (tmp_path / "in.tif").stat().st_size
    packed = [lzw(plane.tobytes()) for plane in planes]
    with (tmp_path / "in.tif").open("ab") as stream:
        stream.write(b"".join(packed))
    tags = {259: 5, 273: [at, at + len(packed[0])], 279: [len(data) for data in packed]}
    with tifffile.TiffFile(tmp_path / "in.tif", mode="r+") as file:
        for tag, value in tags.items():
            file.pages[0].tags[tag].overwrite(value)
    if extra:
        with pytest.raises(ImageError, match=r"8 bits, compression LZW.*pip install imagecodecs"):
            read(tmp_path / "in.tif")
    else:
        np.testing.assert_array_equal(read(tmp_path / "in.tif").pixels[..., 0], planes[0])


def test_a_compression_that_is_not_read_is_named(tmp_path: Path) -> None:
    data = grey_tiff(noise(1, "uint16")[..., 0], bits=16)
    deflated = data.replace(
        struct.pack(">HHII", 259, 4, 1, 1), struct.pack(">HHII", 259, 4, 1, 50000)
    )
    (tmp_path / "in.tif").write_bytes(deflated)
    with pytest.raises(ImageError, match=r"16 bits, compression ZSTD.*pip install imagecodecs"):
        read_photo(tmp_path / "in.tif", max_pixels=None)


@pytest.mark.parametrize(
    ("channels", "dtype"), [(3, "float16"), (5, "uint8"), (5, "uint16")]
)  # 5: CMYK with alpha
def test_lzw_that_needs_imagecodecs_says_so(tmp_path: Path, channels: int, dtype: str) -> None:
    options = {"photometric": "rgb"}
    if channels == 5:
        options = {"photometric": "separated", "extrasamples": ["unassalpha"]}
    tifffile.imwrite(tmp_path / "in.tif", noise(channels, dtype), **options)
    with tifffile.TiffFile(tmp_path / "in.tif", mode="r+") as file:
        file.pages[0].tags[259].overwrite(5)
    with pytest.raises(ImageError, match=r"compression LZW.*without `pip install imagecodecs`"):
        read_photo(tmp_path / "in.tif", max_pixels=None)


def test_a_page_that_cannot_be_read_does_not_matter_for_an_image_of_the_first(tmp_path):
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        writer.write(noise(4, "uint8"), photometric="rgb", extrasamples=["unassalpha"])
        writer.write(np.zeros((8, 8), np.int32))
    assert read_rgb(tmp_path / "in.tif").shape == (*SHAPE, 3)
