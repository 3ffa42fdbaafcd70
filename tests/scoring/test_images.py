import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.scoring.images import read_image, read_pair
from tests.images.samples import exif_block
from tests.images.test_colour import PROFILES
from tests.scoring.pairs import photograph, write


@pytest.fixture
def gt(tmp_path):
    return write(tmp_path / "gt.png", photograph(0))


def test_an_ordinary_image_is_read_as_stored_and_nothing_is_reported(gt):
    seen = read_image(gt)
    np.testing.assert_array_equal(seen.pixels, photograph(0))
    assert seen.notices == ()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_rounded_to_8_and_that_is_reported(tmp_path, gt, suffix):
    deep = photograph(0).astype(np.uint16) * 257
    deep[0, 0] = (257 * 100 + 120, 257 * 100 + 140, 0)
    path = tmp_path / f"deep{suffix}"
    cv2.imwrite(str(path), deep[..., ::-1])
    restored, _ = read_pair(path, gt)
    assert restored.pixels[0, 0].tolist() == [100, 101, 0]
    np.testing.assert_array_equal(restored.pixels[1:], photograph(0)[1:])
    assert restored.notices == ("The restored image: 16 bits per channel, rounded to 8 bits.",)


def test_values_beyond_the_range_are_reported(tmp_path, gt):
    bright = tmp_path / "bright.tif"
    values = photograph(0).astype(np.float32)
    values[0, 0] = 0, 1, 255
    tifffile.imwrite(bright, values, photometric="rgb")
    restored, _ = read_pair(bright, gt)
    (notice,) = restored.notices
    assert notice.endswith("rounded to 8 bits; values from 0 to 255, clipped to [0, 1].")


def test_grey_is_repeated_and_that_is_reported(tmp_path, gt):
    grey = write(tmp_path / "grey.png", photograph(0)[..., 1])
    one, other = read_pair(gt, grey)
    np.testing.assert_array_equal(other.pixels, photograph(0)[..., [1, 1, 1]])
    assert one.notices == ("The ground truth: grey, converted to RGB.",)


def test_transparency_is_left_out_and_that_is_reported(tmp_path, gt):
    alpha = np.full((40, 48, 1), 255, np.uint8)
    opaque = write(tmp_path / "opaque.png", np.dstack([photograph(0), alpha]))
    assert read_pair(opaque, gt)[0].notices == ()
    alpha[:5] = 0
    glass = write(tmp_path / "glass.png", np.dstack([photograph(0), alpha]))
    seen = read_pair(glass, gt)[0]
    np.testing.assert_array_equal(seen.pixels, photograph(0))
    assert seen.notices == ("The restored image: transparency ignored, colours as stored.",)


def test_orientations_matter_only_where_they_differ(tmp_path, gt):
    turned = tmp_path / "turned.png"
    rotated = Image.fromarray(np.rot90(photograph(0)))
    rotated.save(turned, exif=exif_block(orientation=6))
    restored, clean = read_pair(turned, gt)
    np.testing.assert_array_equal(restored.pixels, clean.pixels)
    assert restored.notices == ("Their EXIF orientations differ, and were applied.",)
    assert read_pair(turned, turned)[0].notices == ()


def test_a_profile_that_the_other_lacks_is_reported(tmp_path, gt):
    path = tmp_path / "wide.png"
    Image.fromarray(photograph(0)).save(path, icc_profile=PROFILES["p3"][1])
    assert read_pair(path, gt)[0].notices == (
        "Their colour profiles differ, and were not applied.",
    )
    assert read_pair(path, path)[0].notices == ()


def test_sizes_that_differ_are_an_error_with_both(tmp_path, gt):
    small = write(tmp_path / "small.png", photograph(0)[:30])
    with pytest.raises(ImageError, match=r"restored image is 48x30 pixels.*ground truth 48x40"):
        read_pair(small, gt)


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "f4"])
def test_arrays_are_read_like_files(dtype):
    photo = photograph(0)
    scale = {"u1": 1, "u2": 257, ">u2": 257, "f4": np.float32(1 / 255)}[dtype]
    scaled = (photo * np.float64(scale)).astype(dtype)
    np.testing.assert_array_equal(read_image(scaled).pixels, photo)
    grey = read_image(photo[..., 0])
    np.testing.assert_array_equal(grey.pixels, photo[..., [0, 0, 0]])
    with pytest.raises(ImageError, match=r"shape \(1, 2, 3, 3\) is not an image of shape"):
        read_image(np.zeros((1, 2, 3, 3), dtype))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (photograph(0).astype(np.int64), r"An array of int64 is not an image: valid are uint8"),
        (photograph(0) > 9, "An array of bool is not an image"),
        (torch.zeros(3, 3, 3), "A Tensor is not an image"),
        ("a.png", "A str is not an image: give a Path"),
    ],
    ids=["int64", "bool", "tensor", "str"],
)
def test_what_is_no_array_of_pixels_is_refused_in_a_sentence(given, sentence):
    with pytest.raises(ImageError, match=sentence):
        read_image(given)


def test_an_array_that_is_clipped_is_noticed_as_a_file_is():
    image = read_image(photograph(0).astype(np.float32))
    assert image.notices == ("values from 59 to 138, clipped to [0, 1].",)
