"""ICC profiles in PNG and JPEG: long ones are kept, damaged ones are left out with a notice."""

import struct
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from maskdcpt_cli.images.codecs import cicp, png
from maskdcpt_cli.images.reading import Metadata, Page, Photo, read_photo, read_rgb
from maskdcpt_cli.images.writing import write_photo
from tests.images.samples import SHAPE, chunk, noise, pillow_image, png_with, through

P3 = cicp.from_numbers(12, 13, grey=False)[0]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("source", ["png", "tif"])
def test_a_profile_of_more_than_1_mib_is_copied_to_png(
    tmp_path: Path, source: str, dtype: str
) -> None:
    profile = P3 + np.random.default_rng(1).bytes(1_500_000)
    page = Page(noise(3, dtype))
    photo = Photo(Path("x"), source, (page,), metadata=Metadata(icc=profile))
    write_photo(photo, [page], tmp_path / f"in.{source}")
    assert through(tmp_path / f"in.{source}", tmp_path / "out.png") == ()
    read = read_photo(tmp_path / "out.png", max_pixels=None)
    assert read.metadata.icc == profile
    np.testing.assert_array_equal(read.pages[0].pixels, page.pixels)
    expected = np.rint(page.pixels / (1 if dtype == "uint8" else 257))
    assert np.abs(read_rgb(tmp_path / "out.png") - expected).max() <= 1


def test_a_profile_that_unpacks_to_far_more_takes_no_more_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(png, "LARGEST_PROFILE", 2 << 20)
    png_with(tmp_path / "in.png", chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(64 << 20))))
    tracemalloc.start()
    try:
        photo = read_photo(tmp_path / "in.png", max_pixels=None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20
    assert photo.metadata.icc is None
    assert photo.notices == ("The ICC profile is damaged and is left out.",)


def jpeg_with_parts(*parts: tuple[int, int, bytes]) -> bytes:
    """Return a JPEG with a profile of such parts: number, count, content."""
    stream = BytesIO()
    pillow_image("RGB").save(stream, "JPEG")
    data = stream.getvalue()
    segments = b"".join(
        b"\xff\xe2"
        + struct.pack(">H", 16 + len(part))
        + b"ICC_PROFILE\0"
        + bytes([i, count])
        + part
        for i, count, part in parts
    )
    return data[:2] + segments + data[2:]


HALVES = (P3[:200], P3[200:])
PACKED = zlib.compress(P3)
DAMAGED_PROFILES = {
    "wrong count": [(1, 1, HALVES[0]), (2, 1, HALVES[1])],
    "count 0": [(1, 0, P3)],
    "twice": [(1, 1, P3), (1, 1, P3)],
    "missing part": [(1, 2, HALVES[0])],
    "not packed": b"x\0\0garbage",
    "cut short": b"x\0\0" + PACKED[:-20],
    "nothing packed": b"x\0\0" + zlib.compress(b""),
    "wrong sum": b"x\0\0" + PACKED[:-1] + bytes([PACKED[-1] ^ 1]),
    "unknown method": b"x\0\1" + PACKED,
    "no name": b"x",
    "empty": b"",
}


@pytest.mark.parametrize("name", DAMAGED_PROFILES)
def test_a_damaged_profile_is_left_out_with_a_notice(tmp_path: Path, name: str) -> None:
    damaged = DAMAGED_PROFILES[name]
    path = tmp_path / "in.png"  # the content decides
    if isinstance(damaged, bytes):
        png_with(path, chunk(b"iCCP", damaged))
    else:
        path.write_bytes(jpeg_with_parts(*damaged))
    photo = read_photo(path, max_pixels=None)
    assert photo.metadata.icc is None
    assert photo.notices == ("The ICC profile is damaged and is left out.",)
    assert read_rgb(path).shape == (*SHAPE, 3)


def test_a_profile_in_parts_is_read_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "in.jpg").write_bytes(jpeg_with_parts((2, 2, HALVES[1]), (1, 2, HALVES[0])))
    photo = read_photo(tmp_path / "in.jpg", max_pixels=None)
    assert (photo.metadata.icc, photo.notices) == (P3, ())


@pytest.mark.parametrize("lacking", [1, 4])
def test_a_whole_profile_whose_compression_lacks_its_end_is_read(
    tmp_path: Path, lacking: int
) -> None:
    png_with(tmp_path / "in.png", chunk(b"iCCP", b"x\0\0" + PACKED[:-lacking]))
    photo = read_photo(tmp_path / "in.png", max_pixels=None)
    assert (photo.metadata.icc, photo.notices) == (P3, ())
