"""Colours of files and the sRGB of networks."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from maskdcpt_cli.images.codecs import icc
from maskdcpt_cli.images.colour import PLAIN, Colour, PlainCMYK, TableProfile, colour_of
from maskdcpt_cli.images.reading import Page, Photo, fill_transparent, preview, read_photo
from maskdcpt_cli.images.writing import write_photo

DTYPES = ["uint8", "uint16", "float16", "float32", "float64"]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

# D50-adapted colorants, as the profiles of these names hold them.
PRIMARIES = {
    "adobe": [
        (0.60974, 0.31111, 0.01947),
        (0.20528, 0.62567, 0.06087),
        (0.14919, 0.06322, 0.74457),
    ],
    "p3": [(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)],
    "prophoto": [(0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491)],
}


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256)) + bytes(2)


def sampled(power: float, count: int = 1024) -> bytes:
    values = np.rint(np.linspace(0, 1, count) ** power * 65535).astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", count) + values.tobytes()


def parametric(kind: int, *values: float) -> bytes:
    return b"para" + bytes(4) + struct.pack(">HH", kind, 0) + fixed(*values)


SRGB_CURVE = parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    start, table, body = 132 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02400000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def rgb_profile(name: str, curve: bytes) -> bytes:
    columns = zip((b"rXYZ", b"gXYZ", b"bXYZ"), PRIMARIES[name], strict=True)
    tags = {tag: b"XYZ " + bytes(4) + fixed(*column) for tag, column in columns}
    white = {b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249)}
    return profile(b"RGB ", white | tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def noise(channels: int, dtype: str) -> np.ndarray:
    values = np.random.default_rng(3).random((17, 19, channels))
    peak = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    return (np.rint(values * peak) if peak > 1 else values).astype(dtype)


PROFILES = {
    "none": (3, None),
    "adobe": (3, rgb_profile("adobe", gamma(563 / 256))),
    "p3": (3, rgb_profile("p3", SRGB_CURVE)),
    "prophoto": (3, rgb_profile("prophoto", sampled(1.8))),
    "grey none": (1, None),
    "grey": (1, profile(b"GRAY", {b"kTRC": gamma(1.0)})),
    "cmyk none": (4, None),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PROFILES)
def test_unchanged_pixels_come_back_exactly(name: str, dtype: str) -> None:
    channels, data = PROFILES[name]
    pixels = noise(channels, dtype)
    colour, notices = colour_of(data, pixels)
    lq = colour.to_srgb(pixels)
    np.testing.assert_array_equal(colour.from_srgb(lq.copy(), lq, pixels), pixels)
    elsewhere = np.asfortranarray(lq)  # the same values in another order in memory
    np.testing.assert_array_equal(colour.from_srgb(lq.copy(), elsewhere, pixels), pixels)
    assert notices == ()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("name", PROFILES)
def test_a_change_arrives_at_the_depth_of_the_file(name: str, dtype: str) -> None:
    channels, data = PROFILES[name]
    pixels = noise(channels, dtype)
    if channels == 4:
        pixels[..., 3] //= 2 if np.dtype(dtype).kind == "u" else 1
    colour, _ = colour_of(data, pixels)
    lq = colour.to_srgb(pixels)
    wanted = lq * np.float32(0.8) + np.float32(0.1)
    changed = colour.to_srgb(colour.from_srgb(wanted, lq, pixels))
    # A dark step of a linear file is many steps of sRGB: half a step, magnified by the curve.
    step = {"uint8": 0.5 / 255, "uint16": 0.5 / 65535, "float32": 0}[dtype]
    inside = np.all((lq > 0.05) & (lq < 0.95), axis=-1)
    assert inside.sum() > 20
    assert np.abs(changed - wanted)[inside].max() < 8 * step + 1e-4


@pytest.mark.parametrize("name", ["adobe", "p3", "prophoto"])
def test_profiles_of_curves_and_matrices_agree_with_littlecms(name: str) -> None:
    data = PROFILES[name][1]
    assert data is not None
    pixels = noise(3, "uint8")
    ours = colour_of(data, pixels)[0].to_srgb(pixels) * 255
    theirs = TableProfile(data, 3).decode((pixels / 255).astype(np.float32)) * 255
    inside = np.all((theirs > 8) & (theirs < 247), axis=-1)  # where nothing is clipped
    assert np.abs(ours - theirs)[inside].max() < 1.5


def test_a_grey_profile_by_lightness_agrees_with_littlecms() -> None:
    of_lightness = profile(b"GRAY", {b"kTRC": b"curv" + bytes(8)})
    of_lightness = of_lightness[:20] + b"Lab " + of_lightness[24:]
    pixels = np.arange(256, dtype=np.uint8).reshape(1, -1, 1)
    ours = colour_of(of_lightness, pixels)[0].to_srgb(pixels)[..., 0] * 255
    theirs = TableProfile(of_lightness, 1).decode((pixels / 255).astype(np.float32))[..., 0] * 255
    assert np.abs(ours - theirs).max() < 1.5
    assert ours[0, 64] < 80


@pytest.mark.parametrize(
    ("curve", "formula"),
    [
        (parametric(0, 2.2), lambda x: x**2.2),
        (parametric(1, 2.0, 1.25, -0.25), lambda x: np.maximum(1.25 * x - 0.25, 0) ** 2),
        (
            parametric(2, 2.0, 1.0, -0.2, 0.1),
            lambda x: np.where(x >= 0.2, (x - 0.2) ** 2, 0) + 0.1,
        ),
        (SRGB_CURVE, icc.LIGHT_FROM_SRGB),
        (
            parametric(4, 2.0, 0.9, 0.1, 0.2, 0.1, 0.0, 0.016),
            lambda x: np.where(x >= 0.1, (0.9 * x + 0.1) ** 2, 0.2 * x + 0.016),
        ),
        (gamma(1.8), lambda x: x ** (461 / 256)),
        (sampled(2.4), lambda x: x**2.4),
        (b"curv" + bytes(8), lambda x: x),
    ],
)
def test_curves_follow_their_formula(
    curve: bytes, formula: Callable[[np.ndarray], np.ndarray]
) -> None:
    grey = icc.parse(profile(b"GRAY", {b"kTRC": curve}))
    assert isinstance(grey, icc.GreyProfile)
    x = np.linspace(0, 1, 301)
    np.testing.assert_allclose(grey.curve.to_light(x), formula(x), atol=2e-4)


def lut8(channels: int, grid: np.ndarray) -> bytes:
    """A table of 8-bit entries, (2, 2, ..., outputs), with straight curves before and after."""
    outputs = grid.shape[-1]
    head = b"mft1" + bytes(4) + bytes([channels, outputs, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    return (
        head
        + bytes(range(256)) * channels
        + grid.astype(np.uint8).tobytes()
        + (bytes(range(256)) * outputs)
    )


def press_profile() -> bytes:
    """CMYK by tables: lightness is what the inks leave of the paper, and grey is black ink."""
    inks = np.stack(np.meshgrid(*[[0.0, 1.0]] * 4, indexing="ij"), axis=-1)
    lightness = 255 * (1 - inks[..., 3]) * (1 - inks[..., :3].mean(-1))
    to_lab = np.stack([lightness, *[np.full_like(lightness, 128)] * 2], axis=-1)
    lab = np.stack(np.meshgrid(*[[0.0, 255.0]] * 3, indexing="ij"), axis=-1)
    nothing = np.zeros_like(lab[..., 0])
    to_inks = np.stack([nothing, nothing, nothing, 255 - lab[..., 0]], axis=-1)
    tags = {b"A2B0": lut8(4, to_lab), b"A2B1": lut8(4, to_lab)}
    tags |= {b"B2A0": lut8(3, to_inks), b"B2A1": lut8(3, to_inks)}
    tags[b"wtpt"] = b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249)
    data = bytearray(profile(b"CMYK", tags))
    data[12:16], data[20:24] = b"prtr", b"Lab "
    return bytes(data)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_profiles_of_tables_are_followed_at_8_bits(dtype: str) -> None:
    pixels = noise(4, dtype) // 3
    colour, notices = colour_of(press_profile(), pixels)
    assert isinstance(colour.encodings[4], TableProfile)
    assert bool(notices) == (dtype == "uint16")
    lq = colour.to_srgb(pixels)
    assert np.ptp(lq, axis=-1).max() < 0.02  # the press knows greys alone
    np.testing.assert_array_equal(colour.from_srgb(lq.copy(), lq, pixels), pixels)
    darker = colour.from_srgb(lq * np.float32(0.8), lq, pixels)
    assert (darker[..., 3] > pixels[..., 3]).all()
    np.testing.assert_array_equal(darker[..., :3], pixels[..., :3])


@pytest.mark.parametrize("data", [SRGB, None], ids=["srgb", "none"])
def test_srgb_takes_the_short_way(data: bytes | None) -> None:
    colour, notices = colour_of(data, noise(3, "uint8"))
    assert colour.is_plain(3)
    assert notices == ()


DAMAGED = {
    "noise": b"no profile at all",
    "cut": rgb_profile("adobe", gamma(2.2))[:150],
    "falling curve": rgb_profile("adobe", parametric(0, 0.0)),
    "one primary": rgb_profile("adobe", gamma(2.2)).replace(
        fixed(*PRIMARIES["adobe"][1]), fixed(*PRIMARIES["adobe"][0])
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_profile_is_reported_and_taken_for_srgb(name: str) -> None:
    colour, [notice] = colour_of(DAMAGED[name], noise(3, "uint8"))
    assert "ICC profile cannot be read" in notice
    assert colour.is_plain(3)


def test_a_profile_of_another_space_is_reported() -> None:
    colour, [notice] = colour_of(PROFILES["adobe"][1], noise(1, "uint8"))
    assert "is for RGB and the pixels are grey" in notice
    assert colour.is_plain(1)


def test_highlights_beyond_white_survive_a_change() -> None:
    pixels = np.array([[[1.7, 0.5, -0.1]]], np.float32)
    lq = Colour().to_srgb(pixels)
    np.testing.assert_allclose(lq, [[[1.0, 0.5, 0.0]]])
    changed = Colour().from_srgb(lq - np.float32(0.25), lq, pixels)
    np.testing.assert_allclose(changed, [[[1.45, 0.25, -0.1]]], rtol=1e-6)


def test_what_is_no_number_is_black_to_the_network_and_stays_in_the_file() -> None:
    pixels = np.array([[[np.nan, np.inf, 0.5]]], np.float32)
    lq = Colour().to_srgb(pixels)
    np.testing.assert_array_equal(lq, [[[0, 1, 0.5]]])
    assert np.isnan(Colour().from_srgb(lq, lq, pixels)[0, 0, 0])


def test_tiles_convert_as_the_whole_does() -> None:
    pixels = noise(3, "uint16")
    colour, _ = colour_of(PROFILES["adobe"][1], pixels)
    np.testing.assert_array_equal(colour.to_srgb(pixels)[3:9, 5:], colour.to_srgb(pixels[3:9, 5:]))


def test_black_ink_stays_where_the_colour_allows() -> None:
    native = np.array([[[0.2, 0.4, 0.6, 0.5]]], np.float32)
    cmyk = PlainCMYK()
    darker = cmyk.encode(cmyk.decode(native) * np.float32(0.5), native)
    np.testing.assert_allclose(darker[..., 3], 0.5)
    np.testing.assert_allclose(cmyk.decode(darker), cmyk.decode(native) * 0.5, rtol=1e-5)
    white = cmyk.encode(np.ones((1, 1, 3), np.float32), native)
    np.testing.assert_allclose(white, 0, atol=1e-6)


def test_another_profile_is_converted_where_it_is_not_kept(tmp_path: Path) -> None:
    data = PROFILES["p3"][1]
    image = Image.fromarray(noise(3, "uint8"))
    image.save(tmp_path / "in.png", icc_profile=data)
    photo = read_photo(tmp_path / "in.png", max_pixels=None)
    expected = np.rint(photo.colour.to_srgb(photo.pages[0].pixels) * 255)
    for name, strip in (("strip.png", True), ("plain.bmp", False)):
        write_photo(photo, photo.pages, tmp_path / name, strip=strip)
        with Image.open(tmp_path / name) as written:
            assert "icc_profile" not in written.info
            np.testing.assert_array_equal(np.asarray(written), expected)
    write_photo(photo, photo.pages, tmp_path / "kept.png")
    with Image.open(tmp_path / "kept.png") as written:
        assert written.info["icc_profile"] == data
        np.testing.assert_array_equal(np.asarray(written), np.asarray(image))


def test_a_grey_profile_stays_with_grey(tmp_path: Path) -> None:
    data = PROFILES["grey"][1]
    Image.fromarray(noise(1, "uint8")[..., 0]).save(tmp_path / "in.png", icc_profile=data)
    photo = read_photo(tmp_path / "in.png", max_pixels=None)
    write_photo(photo, photo.pages, tmp_path / "out.tiff")
    assert read_photo(tmp_path / "out.tiff", max_pixels=None).metadata.icc == data
    write_photo(photo, photo.pages, tmp_path / "out.webp", quality=100)  # has no grey
    webp = read_photo(tmp_path / "out.webp", max_pixels=None)
    assert webp.metadata.icc is None
    seen = np.rint(photo.colour.to_srgb(photo.pages[0].pixels) * 255)
    np.testing.assert_array_equal(webp.pages[0].pixels, seen)


def test_hidden_colour_is_filled_from_the_nearest_visible_one() -> None:
    pixels = np.zeros((5, 9, 3), np.uint16)
    pixels[:, :4], pixels[:, 4:] = (100, 0, 0), (0, 0, 900)
    alpha = np.full((5, 9), 7, np.uint16)
    alpha[:, 2:7] = 0
    pixels[:, 2:7] = 12345
    filled = fill_transparent(Page(pixels, alpha))
    assert np.unique(filled[:, :4].reshape(-1, 3), axis=0).tolist() == [[100, 0, 0]]
    assert np.unique(filled[:, 5:].reshape(-1, 3), axis=0).tolist() == [[0, 0, 900]]
    assert (pixels[:, 2:7] == 12345).all()


@pytest.mark.parametrize("alpha", [None, 0, 255])
def test_pages_without_a_border_of_transparency_are_taken_as_they_are(alpha: int | None) -> None:
    pixels = noise(3, "uint8")
    plane = None if alpha is None else np.full(pixels.shape[:2], alpha, np.uint8)
    assert fill_transparent(Page(pixels, plane)) is pixels


def test_preview_is_upright_small_and_over_white(tmp_path: Path) -> None:
    pixels = np.zeros((40, 80, 4), np.uint8)
    pixels[:, :40] = (255, 0, 0, 255)
    exif = Image.Exif()
    exif[274] = 6  # its left is seen at the top
    Image.fromarray(pixels).save(tmp_path / "in.png", exif=exif)
    seen = preview(tmp_path / "in.png", max_side=20)
    assert (seen.shape, seen.dtype) == ((20, 10, 3), np.uint8)
    assert seen[2, 5].tolist() == [255, 0, 0]
    assert seen[-2, 5].tolist() == [255, 255, 255]


@pytest.mark.parametrize("dtype", DTYPES)
def test_preview_shows_every_depth(tmp_path: Path, dtype: str) -> None:
    page = Page(noise(3, dtype))
    write_photo(Photo(Path("x"), "tiff", (page,)), [page], tmp_path / "in.tiff")
    seen = preview(tmp_path / "in.tiff", max_side=64)
    expected = np.rint(Colour().to_srgb(page.pixels) * 255)
    np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_plain_colours_are_those_of_pillow(channels: int) -> None:
    pixels = noise(channels, "uint8")
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[channels]
    image = Image.frombytes(mode, pixels.shape[1::-1], pixels.tobytes())
    ours = PLAIN[channels].decode((pixels / 255).astype(np.float32)) * 255
    assert np.abs(ours - np.asarray(image.convert("RGB"))).max() <= 1


def test_a_photo_without_a_profile_is_plain() -> None:
    photo = Photo(Path("x"), "png", (Page(noise(3, "uint8")),))
    assert all(photo.colour.is_plain(channels) for channels in (1, 3, 4))
