"""Colours that a file states without an ICC profile are followed and kept."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.codecs import cicp, hevc, png
from maskdcpt_cli.images.reading import Metadata, Page, Photo, read_photo, read_rgb
from tests.images.samples import SRGB, noise, pillow_image, through

DISPLAY_P3 = (12, 13)
# Linear light from Display P3 to sRGB (CSS Color 4).
P3_TO_SRGB = np.array(
    [[1.2249402, -0.2249402, 0], [-0.0420570, 1.0420570, 0], [-0.0196376, -0.0786361, 1.0982736]]
)


def to_light(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def from_light(values: np.ndarray) -> np.ndarray:
    values = values.clip(0, 1)
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)


def png_with(path: Path, chunks: dict[bytes, bytes], *, mode: str = "RGB", **options) -> None:
    pillow_image(mode).save(path, **options)
    data = path.read_bytes()
    packed = b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks.items()
    )
    path.write_bytes(data[:33] + packed + data[33:])


def seen(path: Path) -> tuple[Photo, np.ndarray, np.ndarray]:
    """Return a photo, its values in [0, 1], and the sRGB that the network gets."""
    photo = read_photo(path, max_pixels=None)
    pixels = photo.pages[0].pixels
    return photo, pixels / 255, photo.colour.to_srgb(pixels)


def test_display_p3_stated_by_png_is_followed_and_kept(tmp_path: Path) -> None:
    png_with(tmp_path / "in.png", {b"cICP": bytes([*DISPLAY_P3, 0, 1])})
    photo, native, srgb = seen(tmp_path / "in.png")
    expected = from_light(to_light(native) @ P3_TO_SRGB.T)
    np.testing.assert_allclose(srgb, expected, atol=2e-3)
    assert through(tmp_path / "in.png", tmp_path / "out.png") == ()
    assert read_photo(tmp_path / "out.png", max_pixels=None).metadata.icc == photo.metadata.icc


def test_gamma_and_chromaticities_of_png_are_followed(tmp_path: Path) -> None:
    png_with(tmp_path / "in.png", {b"gAMA": struct.pack(">I", 100_000)})
    _, native, srgb = seen(tmp_path / "in.png")
    np.testing.assert_allclose(srgb, from_light(native), atol=3e-3)
    primaries = cicp.PRIMARIES[12]
    values = [round(100_000 * value) for point in primaries for value in point]
    chunks = {b"gAMA": struct.pack(">I", 100_000), b"cHRM": struct.pack(">8I", *values)}
    png_with(tmp_path / "in.png", chunks)
    _, native, srgb = seen(tmp_path / "in.png")
    np.testing.assert_allclose(srgb, from_light(native @ P3_TO_SRGB.T), atol=3e-3)


def test_gamma_of_grey_png_is_followed(tmp_path: Path) -> None:
    png_with(tmp_path / "in.png", {b"gAMA": struct.pack(">I", 100_000)}, mode="L")
    photo, native, srgb = seen(tmp_path / "in.png")
    assert photo.notices == ()
    np.testing.assert_allclose(srgb, np.repeat(from_light(native), 3, axis=2), atol=3e-3)


def test_gamma_of_deep_grey_png_with_alpha_is_followed_and_kept(tmp_path: Path) -> None:
    grey, alpha = noise(1, "uint16"), noise(1, "uint16", seed=2)[..., 0]
    with (tmp_path / "in.png").open("wb") as file:
        png.write(file, Page(grey, alpha), Metadata())
    data = (tmp_path / "in.png").read_bytes()
    chunk = b"gAMA" + struct.pack(">I", 100_000)
    chunk = struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "in.png").write_bytes(data[:33] + chunk + data[33:])
    photo = read_photo(tmp_path / "in.png", max_pixels=None)
    assert photo.notices == ()
    srgb = photo.colour.to_srgb(photo.pages[0].pixels)
    np.testing.assert_allclose(srgb, np.repeat(from_light(grey / 65535), 3, axis=2), atol=3e-3)


P3_PROFILE = cicp.from_numbers(*DISPLAY_P3, grey=False)[0]
VAGUE = ((2, 2), (2, 13), (12, 2), (22, 13), (10, 13), (4, 4), (11, 17))  # none, or unknown ones
P3, GAMMA = {b"cICP": bytes([*DISPLAY_P3, 0, 1])}, {b"gAMA": struct.pack(">I", 100_000)}
PRECEDENCE = {
    "cICP over iCCP": (P3, {"icc_profile": SRGB}, False),
    "iCCP over gAMA": (GAMMA, {"icc_profile": SRGB}, True),
    "sRGB over gAMA": ({**GAMMA, b"sRGB": b"\0"}, {}, True),
    "gAMA of sRGB": ({b"gAMA": struct.pack(">I", 45_455)}, {}, True),
    "cICP of sRGB": ({b"cICP": bytes([1, 13, 0, 1])}, {}, True),
    "cICP of sRGB over iCCP": (
        {b"cICP": bytes([1, 13, 0, 1])},
        {"icc_profile": P3_PROFILE},
        True,
    ),
    "impossible cHRM": ({**GAMMA, b"cHRM": bytes(32)}, {}, True),
}
for numbers in VAGUE:
    vague = {b"cICP": bytes([*numbers, 0, 1])}
    PRECEDENCE |= {
        f"iCCP over cICP {numbers}": (vague, {"icc_profile": P3_PROFILE}, False),
        f"sRGB over cICP {numbers}": ({**vague, **GAMMA, b"sRGB": b"\0"}, {}, True),
        f"gAMA over cICP {numbers}": ({**vague, **GAMMA}, {}, False),
    }


@pytest.mark.parametrize("name", PRECEDENCE)
def test_of_several_statements_in_png_one_counts(tmp_path: Path, name: str) -> None:
    chunks, options, plain = PRECEDENCE[name]
    png_with(tmp_path / "in.png", chunks, **options)
    photo = read_photo(tmp_path / "in.png", max_pixels=None)
    assert photo.colour.is_plain(3) is plain
    assert photo.notices == ()


@pytest.mark.parametrize("numbers", VAGUE)
def test_a_profile_beside_cicp_without_known_colours_is_kept(
    tmp_path: Path, numbers: tuple[int, int]
) -> None:
    chunks = {b"cICP": bytes([*numbers, 0, 1])}
    png_with(tmp_path / "in.png", chunks, icc_profile=P3_PROFILE)
    assert through(tmp_path / "in.png", tmp_path / "out.png") == ()
    assert read_photo(tmp_path / "out.png", max_pixels=None).metadata.icc == P3_PROFILE


def avif(path: Path, numbers: tuple[int, int]) -> None:
    pillow_image("RGB").resize((64, 48)).save(path)
    data = path.read_bytes()
    at = data.index(b"colrnclx") + 8
    path.write_bytes(data[:at] + struct.pack(">2H", *numbers) + data[at + 4 :])


def test_display_p3_stated_by_avif_is_followed_and_kept(tmp_path: Path) -> None:
    avif(tmp_path / "in.avif", DISPLAY_P3)
    photo, native, srgb = seen(tmp_path / "in.avif")
    expected = from_light(to_light(native) @ P3_TO_SRGB.T)
    np.testing.assert_allclose(srgb, expected, atol=2e-3)
    through(tmp_path / "in.avif", tmp_path / "out.avif")
    assert read_photo(tmp_path / "out.avif", max_pixels=None).metadata.icc == photo.metadata.icc


def test_display_p3_stated_by_heic_is_followed(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    options = {"color_primaries": 12, "transfer_characteristics": 13, "matrix_coefficients": 1}
    image = pillow_image("RGB").resize((64, 48))
    heif.from_pillow(image).save(tmp_path / "in.heic", save_nclx_profile=True, **options)
    assert b"colrnclx" in (tmp_path / "in.heic").read_bytes()
    photo = read_photo(tmp_path / "in.heic", max_pixels=None)
    assert photo.metadata.icc == cicp.from_numbers(*DISPLAY_P3, grey=False)[0]


def heic_without_box(path: Path, primaries: int, transfer: int) -> None:
    """Write a HEIC file whose video stream alone states its colours."""
    heif = pytest.importorskip("pillow_heif")
    options = {"color_primaries": primaries, "transfer_characteristics": transfer}
    image = pillow_image("RGB").resize((64, 48))
    heif.from_pillow(image).save(
        path, save_nclx_profile=False, matrix_coefficients=6, full_range_flag=1, **options
    )
    assert b"colr" not in path.read_bytes()


def test_of_a_heic_of_several_images_the_primary_one_is_read(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    both = heif.HeifFile()
    for colour in ("red", "blue"):
        both.add_from_pillow(Image.new("RGB", (64, 48), colour))
    both.save(tmp_path / "in.heic", primary_index=1)
    photo = read_photo(tmp_path / "in.heic", max_pixels=None)
    assert photo.notices == ("Only the primary one of the 2 images in the file is restored.",)
    assert photo.pages[0].pixels[..., 2].mean() > 200
    rgb = read_rgb(tmp_path / "in.heic")
    assert (rgb.shape, rgb[..., 2].mean() > 200) == ((48, 64, 3), True)


def test_display_p3_stated_by_the_stream_of_heic_is_followed(tmp_path: Path) -> None:
    heic_without_box(tmp_path / "in.heic", *DISPLAY_P3)
    photo = read_photo(tmp_path / "in.heic", max_pixels=None)
    assert photo.metadata.icc == cicp.from_numbers(*DISPLAY_P3, grey=False)[0]
    heic_without_box(tmp_path / "srgb.heic", 1, 13)
    assert read_photo(tmp_path / "srgb.heic", max_pixels=None).metadata.icc is None
    heic_without_box(tmp_path / "pq.heic", 9, 16)
    with pytest.raises(ImageError, match=r"HDR \(PQ\): convert it to SDR"):
        read_photo(tmp_path / "pq.heic", max_pixels=None)


def test_a_damaged_stream_of_heic_states_no_colours(tmp_path: Path) -> None:
    heic_without_box(tmp_path / "in.heic", *DISPLAY_P3)
    data = (tmp_path / "in.heic").read_bytes()
    at = data.index(b"hvcC") - 4
    end = at + int.from_bytes(data[at : at + 4], "big")
    assert hevc.stated_colours(data) == DISPLAY_P3
    for length in range(at, end):
        hevc.stated_colours(data[:length])
    for place in range(at, end):
        for value in (0, 255):
            hevc.stated_colours(data[:place] + bytes([value]) + data[place + 1 :])
    assert hevc.stated_colours(b"\xff\xff\xff\xffhvcC" * 8192) is None


def bits(*parts: tuple[int, int] | int) -> bytes:
    """Return (value, count of bits) and Exp-Golomb numbers one behind another."""
    text = ""
    for part in parts:
        if isinstance(part, tuple):
            text += f"{part[0]:0{part[1]}b}"
        else:
            digits = f"{part + 1:b}"
            text += "0" * (len(digits) - 1) + digits
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


def test_all_parts_of_a_parameter_set_are_passed_over() -> None:
    layered = [(0, 4), (1, 3), (1, 1), (0, 96), (3, 2), (0, 14), (0, 96)]
    sizes = [0, 3, (0, 1), 64, 48, (1, 1), 0, 0, 1, 1, 2, 2, 4, (1, 1), *[1] * 6, *[0] * 6]
    copied = [(0, 1), 0]
    lists = [*copied * 5, (1, 1), *[0] * 16]
    lists += [*copied * 5, (1, 1), *[0] * 64, *copied * 5, (1, 1), *[0] * 65, *copied * 2]
    uncompressed = [(3, 2), (1, 1), (0x77, 8), 0, 1, (1, 1)]
    references = [2, 1, 1, 0, (1, 1), 0, (1, 1), (0, 1), 0, 0, (1, 1), 1, (5, 8), (1, 1)]
    vui = [(1, 1), (255, 8), (0x10001, 32), (1, 1), (1, 1), (1, 1), (5, 3), (1, 1), (1, 1)]
    sps = bits(
        *[*layered, *sizes, (3, 2), *lists, *uncompressed, *references, (3, 2), (1, 1), *vui],
        *[(12, 8), (13, 8), (1, 8), (0, 64)],
    )
    guarded = sps.replace(b"\0\0", b"\0\0\3")
    nal = b"\x42\1" + guarded
    box = b"hvcC" + bytes(22) + b"\1\x21\0\1" + len(nal).to_bytes(2, "big") + nal
    assert hevc.stated_colours((len(box) + 4).to_bytes(4, "big") + box) == DISPLAY_P3


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused(tmp_path: Path, transfer: int, name: str) -> None:
    avif(tmp_path / "in.avif", (9, transfer))
    png_with(tmp_path / "in.png", {b"cICP": bytes([9, transfer, 0, 1])})
    for file in ("in.avif", "in.png"):
        with pytest.raises(ImageError, match=rf"HDR \({name}\): convert it to SDR"):
            read_photo(tmp_path / file, max_pixels=None)


def test_unknown_numbers_are_reported(tmp_path: Path) -> None:
    avif(tmp_path / "in.avif", (22, 12))
    png_with(tmp_path / "in.png", {b"cICP": bytes([22, 12, 0, 1])})
    for file in ("in.avif", "in.png"):
        assert read_photo(tmp_path / file, max_pixels=None).notices == (
            "Its colours (CICP 22, 12) are not known: treated as sRGB.",
        )


@pytest.mark.parametrize("primaries", cicp.PRIMARIES)
@pytest.mark.parametrize("transfer", cicp.TRANSFERS)
def test_littlecms_reads_the_profiles(primaries: int, transfer: int) -> None:
    for grey in (False, True):
        profile, _ = cicp.from_numbers(primaries, transfer, grey=grey)
        if profile:
            opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            mode = "L" if grey else "RGB"
            to_srgb = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
            white = ImageCms.applyTransform(Image.new(mode, (1, 1), "white"), to_srgb)
            assert min(white.getpixel((0, 0))) >= 254
