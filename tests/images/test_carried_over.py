"""What a file holds beside its pixels is carried over, or left out with a notice."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.arrays import Native
from maskdcpt_cli.images.codecs import pillow, png
from maskdcpt_cli.images.photo import Page
from maskdcpt_cli.images.reading import Metadata, read_photo, read_rgb
from tests.images.samples import chunk, exif_block, noise, pillow_image, png_with, through

TEXTS = [
    chunk(b"tEXt", b"Title\0Harbour at dawn"),
    chunk(b"zTXt", b"Description\0\0" + zlib.compress(b"x" * 300)),
    chunk(b"iTXt", b"Comment\0\0\0de\0Kommentar\0gr\xc3\xbc\xc3\x9fe"),
]


def test_texts_of_png_are_copied_to_png_and_announced_elsewhere(tmp_path: Path) -> None:
    png_with(tmp_path / "in.png", *TEXTS)
    assert through(tmp_path / "in.png", tmp_path / "out.png") == ()
    data = (tmp_path / "out.png").read_bytes()
    assert all(text in data for text in TEXTS)
    assert through(tmp_path / "in.png", tmp_path / "out.jpg") == (
        "JPEG holds no texts of PNG: left out.",
    )
    assert through(tmp_path / "in.png", tmp_path / "bare.png", strip=True) == ()
    assert not any(text in (tmp_path / "bare.png").read_bytes() for text in TEXTS)


@pytest.mark.parametrize(
    "text",
    [
        chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(2 << 20))),
        chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(b"a" * (2 << 20))),
        chunk(b"tEXt", b"workflow\0" + b"a" * (2 << 20)),
    ],
    ids=["zTXt", "iTXt", "tEXt"],
)
def test_a_text_that_is_too_long_does_not_stop_a_png(tmp_path: Path, text: bytes) -> None:
    png_with(tmp_path / "in.png", text, *TEXTS)
    photo = read_photo(tmp_path / "in.png", max_pixels=None)
    assert photo.notices == ("Texts of more than 1 MiB are left out: 1.",)
    assert len(photo.metadata.extras) == len(TEXTS)
    np.testing.assert_array_equal(photo.pages[0].pixels, noise(3, "uint8"))


@pytest.mark.parametrize("keyword", ["exif", "APP1"])
def test_exif_in_hexadecimal_digits_is_read(tmp_path: Path, keyword: str) -> None:
    exif = exif_block(orientation=6)
    text = f"Raw profile type {keyword}\0\0".encode()
    digits = f"\n{keyword}\n{len(exif):8}\n{exif.hex()}\n".encode()
    png_with(tmp_path / "in.png", chunk(b"zTXt", text + zlib.compress(digits)))
    metadata = read_photo(tmp_path / "in.png", max_pixels=None).metadata
    assert (metadata.exif, metadata.orientation) == (exif[6:], 6)
    assert metadata.extras == ()


def still_beside_frames(still: Native, frame: Native) -> bytes:
    """Return a 16-bit APNG whose default image is no frame of the animation."""

    def pixels_of(pixels: Native) -> bytes:
        stream = BytesIO()
        png.write(stream, Page(pixels), Metadata())
        data = stream.getvalue()
        at = data.index(b"IDAT")
        length = struct.unpack(">I", data[at - 4 : at])[0]
        second = data.index(b"IDAT", at + length)
        return data[at + 4 : at + 4 + length] + data[second + 4 : -16]

    height, width = still.shape[:2]
    frames = [
        (chunk(b"fcTL", struct.pack(">IIIIIHHBB", 2 * i, width, height, 0, 0, 1, 10, 0, 0)))
        + chunk(b"fdAT", struct.pack(">I", 2 * i + 1) + pixels_of(frame))
        for i in range(2)
    ]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n" + header,
            chunk(b"acTL", struct.pack(">II", 2, 0)),
            chunk(b"IDAT", pixels_of(still)),
            *frames,
            chunk(b"IEND", b""),
        ]
    )


def test_the_default_image_of_a_16_bit_animation_is_read(tmp_path: Path) -> None:
    still = noise(3, "uint16")
    (tmp_path / "in.png").write_bytes(still_beside_frames(still, np.zeros_like(still)))
    page = read_photo(tmp_path / "in.png", max_pixels=None).pages[0]
    np.testing.assert_array_equal(page.pixels, still)


def test_decoders_that_disagree_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    still = noise(3, "uint16")
    (tmp_path / "in.png").write_bytes(still_beside_frames(still, np.zeros_like(still)))
    monkeypatch.setattr(pillow.png, "ANIMATION", frozenset())  # OpenCV then reads the frame
    with pytest.raises(ImageError, match="two decoders read different pixels"):
        read_photo(tmp_path / "in.png", max_pixels=None)


def test_exif_with_one_damaged_pointer_is_carried_byte_for_byte(tmp_path: Path) -> None:
    exif = bytearray(exif_block(orientation=6))
    entry = exif.index(struct.pack(">HHI", 34853, 4, 1))
    struct.pack_into(">HHI", exif, entry, 34853, 2, 1)  # the pointer to GPS as a text
    pillow_image("RGB").save(tmp_path / "in.jpg", exif=bytes(exif))
    photo = read_photo(tmp_path / "in.jpg", max_pixels=None)
    assert photo.metadata.orientation == 6
    assert photo.notices == ()
    through(tmp_path / "in.jpg", tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.info["exif"] == bytes(exif)
    through(tmp_path / "in.jpg", tmp_path / "out.tif")
    assert read_photo(tmp_path / "out.tif", max_pixels=None).metadata.orientation == 6


IPTC = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0c\x1c\x02\x19\0\x07harbour"


def test_iptc_and_comments_of_jpeg_are_copied(tmp_path: Path) -> None:
    segment = b"\xff\xed" + struct.pack(">H", len(IPTC) + 2) + IPTC
    pillow_image("RGB").save(tmp_path / "in.jpg", extra=segment, comment=b"hello")
    assert through(tmp_path / "in.jpg", tmp_path / "out.jpg") == ()
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.info["comment"] == b"hello"
        assert dict(image.applist)["APP13"] == IPTC
    [notice] = through(tmp_path / "in.jpg", tmp_path / "out.png")
    assert notice == "PNG holds no IPTC and comments of JPEG: left out."


def with_wrong_check_sum(packed: bytes) -> bytes:
    return packed[:-1] + bytes([packed[-1] ^ 1])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (b"tEXt", b"Title\0Harbour at dawn"),
        (b"eXIf", exif_block()[6:]),
        (b"iCCP", b"a\0\0b"),
        (b"tRNS", bytes(6)),
        (b"quXx", b""),
    ],
)
def test_metadata_of_png_with_a_wrong_check_sum_is_left_out(
    tmp_path: Path, name: bytes, data: bytes
) -> None:
    png_with(tmp_path / "in.png", with_wrong_check_sum(chunk(name, data)), *TEXTS)
    photo = read_photo(tmp_path / "in.png", max_pixels=None)
    assert photo.notices == (
        f"Damaged chunks (their check sums are wrong) are left out: {name.decode()}.",
    )
    assert photo.metadata == Metadata(extras=photo.metadata.extras)
    assert len(photo.metadata.extras) == len(TEXTS)
    np.testing.assert_array_equal(photo.pages[0].pixels, noise(3, "uint8"))
    np.testing.assert_array_equal(read_rgb(tmp_path / "in.png"), noise(3, "uint8"))


def test_a_damaged_chunk_of_an_animation_leaves_its_default_image(tmp_path: Path) -> None:
    still, frame = (noise(3, "uint16", seed=seed) for seed in (1, 2))
    data = still_beside_frames(still, frame)
    for name in (b"acTL", b"fcTL"):
        end = data.index(name) + 4 + int.from_bytes(data[data.index(name) - 4 :][:4], "big")
        (tmp_path / "in.png").write_bytes(data[:end] + b"\0\0\0\0" + data[end + 4 :])
        photo = read_photo(tmp_path / "in.png", max_pixels=None)
        assert photo.notices == (
            "Damaged chunks (their check sums are wrong) are left out: acTL, fcTL, fdAT.",
        )
        np.testing.assert_array_equal(photo.pages[0].pixels, still)


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE"])
def test_a_wrong_check_sum_of_what_the_pixels_need_is_refused(tmp_path: Path, name: bytes) -> None:
    pillow_image("P").save(tmp_path / "in.png")
    data = bytearray((tmp_path / "in.png").read_bytes())
    at = data.index(name)
    data[at + 4 + int.from_bytes(data[at - 4 : at], "big")] ^= 1
    (tmp_path / "in.png").write_bytes(data)
    with pytest.raises(ImageError, match="its content is damaged"):
        read_photo(tmp_path / "in.png", max_pixels=None)


SIGNIFICANT = {  # of the kind of pixels: sBIT, and what the result has of it
    ("RGB", 16): (b"\x0c\x0c\x0c", True),
    ("RGB", 8): (b"\x05\x06\x05", True),
    ("RGBA", 16): (b"\x0a\x0a\x0a\x10", True),
    ("LA", 8): (b"\x06\x08", True),
    ("L", 16): (b"\x0a", True),
    ("L", 8): (b"\x0a", False),  # more than there are
    ("P", 8): (b"\x06\x06\x06", True),  # the result has full colour, of as many bits
    ("1", 1): (b"\1", False),  # the result has 8 bits
}


@pytest.mark.parametrize(("mode", "bits"), SIGNIFICANT)
def test_significant_bits_of_png_are_kept_at_the_same_depth(
    tmp_path: Path, mode: str, bits: int
) -> None:
    stated, is_kept = SIGNIFICANT[mode, bits]
    if bits == 16:
        alpha = noise(1, "uint16")[..., 0] if mode == "RGBA" else None
        page = Page(noise(1 if mode == "L" else 3, "uint16"), alpha)
        with (tmp_path / "in.png").open("wb") as stream:
            png.write(stream, page, Metadata())
    else:
        pillow_image(mode).save(tmp_path / "in.png")
    data = (tmp_path / "in.png").read_bytes()
    (tmp_path / "in.png").write_bytes(data[:33] + chunk(b"sBIT", stated) + data[33:])
    assert through(tmp_path / "in.png", tmp_path / "out.png") == ()
    assert (chunk(b"sBIT", stated) in (tmp_path / "out.png").read_bytes()) is is_kept
    read_rgb(tmp_path / "out.png")
    through(tmp_path / "in.png", tmp_path / "bare.png", strip=True)
    assert b"sBIT" not in (tmp_path / "bare.png").read_bytes()
    if mode not in {"RGBA", "LA"} and bits == 8:
        assert through(tmp_path / "in.png", tmp_path / "out.jpg") == ()
