"""Pixels come back from reading, the way through sRGB, and writing."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, JpegImagePlugin

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.reading import Page, Photo, probe, read_photo
from maskdcpt_cli.images.writing import write_photo
from tests.images.samples import (
    SHAPE,
    SRGB,
    XMP,
    exif_block,
    noise,
    pillow,
    pillow_image,
    through,
)

PHOTO = Path(__file__).parents[2] / "examples" / "bee-blur.jpg"

MODES = {
    "png": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "tiff": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"],
    "bmp": ["1", "L", "P", "RGB"],
}
BECOMES = {"1": "L", "P": "RGB"}


@pytest.mark.parametrize(("word", "mode"), [(f, m) for f, modes in MODES.items() for m in modes])
def test_pixels_and_modes_survive_lossless_formats(tmp_path: Path, word: str, mode: str) -> None:
    source, target = tmp_path / f"in.{word}", tmp_path / f"out.{word}"
    image = pillow_image(mode)
    image.save(source)
    assert through(source, target) == ()
    becomes = BECOMES.get(mode, mode)
    found, pixels = pillow(target)
    assert found == becomes
    np.testing.assert_array_equal(pixels, np.asarray(image.convert(becomes)))
    notices = read_photo(source, max_pixels=None).notices
    assert bool(notices) == (mode in {"1", "P", "F"})  # F holds values above 1


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("form", ["plain", "deflated", "planar", "tiled", "big-endian", "big-tiff"])
def test_deep_tiff_survives_exactly(tmp_path: Path, channels: int, dtype: str, form: str) -> None:
    options: dict[str, object] = {
        "plain": {},
        "deflated": {"compression": "zlib", "predictor": dtype == "uint16"},
        "planar": {"planarconfig": "separate"},
        "tiled": {"tile": (16, 16)},
        "big-endian": {"byteorder": ">"},
        "big-tiff": {"bigtiff": True},
    }[form]
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    pixels = noise(channels, dtype)
    stored = np.moveaxis(pixels, -1, 0) if form == "planar" else pixels
    alpha = ["unassalpha"] if channels in {2, 4} else None
    photometric = "rgb" if channels > 2 else "minisblack"
    kind = {"photometric": photometric, "extrasamples": alpha, **options}
    tifffile.imwrite(source, stored if channels > 1 else pixels[..., 0], **kind)
    assert through(source, target) == ()
    found = tifffile.imread(target)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.reshape(pixels.shape), pixels)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_opencv_reads_the_16_bit_files_we_write(tmp_path: Path, channels: int, suffix: str) -> None:
    source, target = tmp_path / "in.png", tmp_path / f"out{suffix}"
    pixels = noise(channels, "uint16")
    assert cv2.imwrite(str(source), pixels)
    through(source, target)
    found = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found.reshape(pixels.shape), pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_grey_with_alpha_survives_png(tmp_path: Path, dtype: str) -> None:
    page = Page(noise(1, dtype), noise(1, dtype, seed=2)[..., 0])
    write_photo(Photo(Path("x"), "png", (page,)), [page], tmp_path / "a.png")
    through(tmp_path / "a.png", tmp_path / "b.png")
    found = read_photo(tmp_path / "b.png", max_pixels=None).pages[0]
    np.testing.assert_array_equal(found.pixels, page.pixels)
    np.testing.assert_array_equal(found.alpha, page.alpha)


def test_lzw_of_16_bits_survives(tmp_path: Path) -> None:
    pixels = noise(3, "uint16")
    assert cv2.imwrite(str(tmp_path / "in.tif"), pixels)
    with tifffile.TiffFile(tmp_path / "in.tif") as file:
        assert (file.pages[0].compression, file.pages[0].predictor) == (5, 2)
    through(tmp_path / "in.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), pixels[..., ::-1])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_lzw_of_16_bits_is_not_turned(tmp_path: Path, orientation: int) -> None:
    pages = [noise(1, "uint16", seed=seed)[..., 0] for seed in (1, 2)]
    first, second = (Image.fromarray(page) for page in pages)
    options = {"compression": "tiff_lzw", "tiffinfo": {274: orientation}}
    first.save(tmp_path / "in.tif", save_all=True, append_images=[second], **options)
    photo = read_photo(tmp_path / "in.tif", max_pixels=None)
    assert photo.metadata.orientation == orientation
    for page, pixels in zip(photo.pages, pages, strict=True):
        np.testing.assert_array_equal(page.pixels[..., 0], pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_grey_counted_from_white_is_understood(tmp_path: Path, dtype: str) -> None:
    pixels = noise(1, dtype)[..., 0]
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric="miniswhite")
    found = read_photo(tmp_path / "in.tif", max_pixels=None).pages[0].pixels[..., 0]
    np.testing.assert_array_equal(found, np.iinfo(dtype).max - pixels)


def test_multiplied_alpha_is_divided_out(tmp_path: Path) -> None:
    stored = np.full((4, 4, 4), 16000, np.uint16)
    stored[..., 3] = 32000
    tifffile.imwrite(tmp_path / "in.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    page = read_photo(tmp_path / "in.tif", max_pixels=None).pages[0]
    assert np.unique(page.pixels).tolist() == [round(16000 / 32000 * 65535)]


def test_all_pages_of_a_tiff_survive(tmp_path: Path) -> None:
    sizes = [noise(3, "uint8"), noise(1, "uint16")[:5], noise(4, "float32")[:, :9]]
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        for pixels in sizes:
            colour = "rgb" if pixels.shape[2] > 1 else "minisblack"
            writer.write(pixels if colour == "rgb" else pixels[..., 0], photometric=colour)
    assert probe(tmp_path / "in.tif").pages == 3
    through(tmp_path / "in.tif", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        for pixels, page in zip(sizes, file.pages, strict=True):
            np.testing.assert_array_equal(page.asarray().reshape(pixels.shape), pixels)
    [notice] = through(tmp_path / "in.tif", tmp_path / "out.png")
    assert "first of 3" in notice


@pytest.mark.parametrize("word", ["jpg", "tiff"])
def test_cmyk_stays_cmyk(tmp_path: Path, word: str) -> None:
    source, target = tmp_path / f"in.{word}", tmp_path / f"out.{word}"
    pillow_image("CMYK").resize((64, 48)).save(source, **({"quality": 95} if word == "jpg" else {}))
    assert through(source, target) == ()
    mode, pixels = pillow(target)
    assert mode == "CMYK"
    change = np.abs(pixels.astype(int) - pillow(source)[1])
    assert change.mean() < (4 if word == "jpg" else 1e-9)


@pytest.mark.parametrize("word", ["gif", "webp", "png"])
def test_animations_give_their_first_frame_and_say_so(tmp_path: Path, word: str) -> None:
    frames = [Image.new("RGB", SHAPE[::-1], (60 * i, 20, 0)) for i in range(3)]
    path = tmp_path / f"in.{word}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert probe(path).pages == 3
    photo = read_photo(path, max_pixels=None)
    assert len(photo.pages) == 1
    assert any("first of 3 frames" in notice for notice in photo.notices)
    assert np.abs(photo.pages[0].pixels.astype(int) - (0, 20, 0)).max() <= 3


def test_of_a_jpeg_with_several_images_the_first_is_read(tmp_path: Path) -> None:
    first, second = pillow_image("RGB"), Image.new("RGB", (5, 5))
    first.save(tmp_path / "in.jpg", "MPO", save_all=True, append_images=[second])
    photo = read_photo(tmp_path / "in.jpg", max_pixels=None)
    assert photo.format == "jpeg"
    assert photo.pages[0].pixels.shape == (*SHAPE, 3)
    assert photo.notices == ("Only the first of the 2 images in the file is restored.",)


def test_a_transparent_colour_becomes_alpha(tmp_path: Path) -> None:
    pixels = noise(1, "uint16")
    image = Image.fromarray(pixels[..., 0])
    image.save(tmp_path / "deep.png", transparency=int(pixels[2, 3, 0]))
    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "rgb.png", transparency=(1, 2, 3))
    Image.new("P", (4, 4), 0).save(tmp_path / "palette.png", transparency=0)
    deep, rgb, palette = (
        read_photo(tmp_path / f"{name}.png", max_pixels=None).pages[0]
        for name in ("deep", "rgb", "palette")
    )
    assert deep.alpha is not None
    assert deep.alpha[2, 3] == 0
    for page in (rgb, palette):
        assert page.alpha is not None
        assert page.alpha.max() == 0
        assert page.pixels.shape[2] == 3


LOSSES = [
    ("RGBA", "uint8", "jpg", "no alpha"),
    ("RGBA", "uint8", "bmp", "no alpha"),
    ("RGB", "uint16", "jpg", "uint8"),
    ("RGB", "uint16", "webp", "uint8"),
    ("RGB", "uint16", "avif", "uint8"),
    ("RGB", "float32", "png", "uint16"),
    ("CMYK", "uint8", "png", "becomes RGB"),
]


@pytest.mark.parametrize(("mode", "dtype", "word", "notice"), LOSSES)
def test_what_a_format_cannot_hold_is_reported(
    tmp_path: Path, mode: str, dtype: str, word: str, notice: str
) -> None:
    alpha = noise(1, dtype)[..., 0] if mode == "RGBA" else None
    page = Page(noise(4 if mode == "CMYK" else 3, dtype), alpha)
    photo = Photo(Path("x"), "tiff", (page,))
    [reported] = write_photo(photo, [page], tmp_path / f"out.{word}")
    assert notice in reported
    assert read_photo(tmp_path / f"out.{word}", max_pixels=None).pages[0].pixels.shape == (
        *SHAPE,
        3,
    )


def test_reduced_depth_is_the_nearest_value(tmp_path: Path) -> None:
    page = Page(np.linspace(-0.5, 2, 1024, dtype=np.float32).reshape(16, 64, 1))
    write_photo(Photo(Path("x"), "tiff", (page,)), [page], tmp_path / "out.png")
    _, found = pillow(tmp_path / "out.png")
    np.testing.assert_array_equal(found, np.rint(page.pixels[..., 0].clip(0, 1) * 65535))


def test_blending_is_over_white(tmp_path: Path) -> None:
    half = np.full(SHAPE, 128, np.uint8)
    page = Page(np.zeros((*SHAPE, 3), np.uint8), half)
    write_photo(Photo(Path("x"), "png", (page,)), [page], tmp_path / "out.bmp")
    assert np.unique(pillow(tmp_path / "out.bmp")[1]).tolist() == [127]


def test_quality_100_makes_webp_lossless(tmp_path: Path) -> None:
    page = Page(noise(3, "uint8"), noise(1, "uint8")[..., 0])
    write_photo(Photo(Path("x"), "png", (page,)), [page], tmp_path / "out.webp", quality=100)
    found = read_photo(tmp_path / "out.webp", max_pixels=None).pages[0]
    np.testing.assert_array_equal(found.pixels, page.pixels)
    np.testing.assert_array_equal(found.alpha, page.alpha)


@pytest.mark.parametrize("frames", [1, 2])
def test_a_lossless_webp_stays_lossless(tmp_path: Path, frames: int) -> None:
    image, later = pillow_image("RGB"), [Image.new("RGB", SHAPE[::-1])] * (frames - 1)
    options = {"save_all": True, "append_images": later} if later else {}
    image.save(tmp_path / "in.webp", lossless=True, **options)
    through(tmp_path / "in.webp", tmp_path / "out.webp")
    np.testing.assert_array_equal(pillow(tmp_path / "out.webp")[1], np.asarray(image))
    image.save(tmp_path / "lossy.webp", quality=80)
    assert not read_photo(tmp_path / "lossy.webp", max_pixels=None).metadata.lossless


def test_quality_100_makes_avif_lossless(tmp_path: Path) -> None:
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))
    for pixels in (noise(3, "uint8"), photo[:300, :401], np.full((1, 1, 3), 7, np.uint8)):
        for alpha in (None, np.ascontiguousarray(pixels[..., 1])):
            page = Page(pixels, alpha)
            source = Photo(Path("x"), "png", (page,))
            write_photo(source, [page], tmp_path / "out.avif", quality=100)
            found = read_photo(tmp_path / "out.avif", max_pixels=None)
            np.testing.assert_array_equal(found.pages[0].pixels, pixels)
            np.testing.assert_array_equal(found.pages[0].alpha, alpha)
            assert found.metadata.lossless


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_lossless_avif_stays_lossless(tmp_path: Path, alpha: bool, orientation: int) -> None:
    pixels = noise(4 if alpha else 3, "uint8")
    exif = exif_block(orientation)[6:]
    keys = [cv2.IMAGE_METADATA_EXIF, cv2.IMAGE_METADATA_ICCP, cv2.IMAGE_METADATA_XMP]
    blocks = [np.frombuffer(block, np.uint8)[None] for block in (exif, SRGB, XMP)]
    bgr = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    _, data = cv2.imencodeWithMetadata(
        ".avif", np.ascontiguousarray(bgr), keys, blocks, [cv2.IMWRITE_AVIF_QUALITY, 100]
    )
    (tmp_path / "in.avif").write_bytes(data)
    assert through(tmp_path / "in.avif", tmp_path / "out.avif") == ()
    photo, result = (
        read_photo(tmp_path / f"{name}.avif", max_pixels=None) for name in ("in", "out")
    )
    np.testing.assert_array_equal(pillow(tmp_path / "out.avif")[1], pixels)
    assert result.metadata == photo.metadata
    assert result.metadata.lossless
    assert (result.metadata.icc, result.metadata.xmp) == (SRGB, XMP)
    assert result.metadata.orientation == orientation
    with Image.open(tmp_path / "out.avif") as image:
        assert image.getexif()[271] == "Maker"
    pillow_image("RGB").save(tmp_path / "lossy.avif", quality=90)
    assert not read_photo(tmp_path / "lossy.avif", max_pixels=None).metadata.lossless


def test_of_one_lossless_format_the_other_is_as_usual(tmp_path: Path) -> None:
    pillow_image("RGB").save(tmp_path / "in.webp", lossless=True)
    through(tmp_path / "in.webp", tmp_path / "out.avif")
    assert not read_photo(tmp_path / "out.avif", max_pixels=None).metadata.lossless


def test_where_opencv_writes_no_avif_a_notice_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page(noise(3, "uint8"))
    monkeypatch.setattr(cv2, "haveImageWriter", lambda _suffix: False)
    [notice] = write_photo(
        Photo(Path("x"), "png", (page,)), [page], tmp_path / "out.avif", quality=100
    )
    assert notice == "This OpenCV writes no AVIF: the result is not lossless."
    assert not read_photo(tmp_path / "out.avif", max_pixels=None).metadata.lossless


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pfm_is_read_in_colour_and_grey(tmp_path: Path, channels: int, order: str) -> None:
    pixels = noise(channels, "float32")
    kind, scale = ("Pf" if channels == 1 else "PF"), (-1.0 if order == "<" else 1.0)
    head = f"{kind}\n{SHAPE[1]} {SHAPE[0]}\n{scale}\n".encode()
    (tmp_path / "in.pfm").write_bytes(head + pixels[::-1].astype(f"{order}f4").tobytes())
    assert probe(tmp_path / "in.pfm").width == SHAPE[1]
    page = read_photo(tmp_path / "in.pfm", max_pixels=None).pages[0]
    np.testing.assert_array_equal(page.pixels, pixels)
    (tmp_path / "in.pfm").write_bytes(head + bytes(20))
    with pytest.raises(ImageError, match="it is cut short"):
        read_photo(tmp_path / "in.pfm", max_pixels=None)


def test_jpeg_keeps_full_colour_at_high_quality(tmp_path: Path) -> None:
    page = Page(noise(3, "uint8"))
    for quality, sampling in ((None, 0), (90, 0), (89, 2)):
        write_photo(Photo(Path("x"), "png", (page,)), [page], tmp_path / "o.jpg", quality=quality)
        with Image.open(tmp_path / "o.jpg") as image:
            assert JpegImagePlugin.get_sampling(image) == sampling
