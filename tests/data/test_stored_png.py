"""PNGs that are not compressed, of which a part is read alone."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from maskdcpt_cli.data.augment import Crop
from maskdcpt_cli.data.shards import stored_png


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (64, 48), (2, stored_png.MAX_WIDTH)])
def test_a_png_that_is_not_compressed_is_a_png_to_others(size):
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    data = stored_png.encode(pixels)
    assert len(data) == stored_png.size_of(*size)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image), pixels)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(decoded, pixels)
    crop = Crop(0, 0, *size)
    start, length = stored_png.span(crop, width=size[1])
    rows = data[start : start + length]
    assert np.array_equal(stored_png.crop_rows(rows, crop, width=size[1]), pixels)


def test_a_part_of_it_is_read_from_its_rows_alone():
    pixels = np.random.default_rng(1).integers(0, 256, (64, 48, 3), np.uint8)
    data = stored_png.encode(pixels)
    crop = Crop(10, 7, 20, 30)
    start, length = stored_png.span(crop, width=48)
    part = stored_png.crop_rows(data[start : start + length], crop, width=48)
    assert np.array_equal(part, crop.of(pixels))
    assert stored_png.crop_rows(data[start + 1 : start + length + 1], crop, width=48) is None
    assert stored_png.crop_rows(data[start : start + 10], crop, width=48) is None


def test_the_rows_of_another_file_are_not_taken_for_its():
    crop = Crop(0, 0, 64, 48)
    _, length = stored_png.span(crop, width=48)
    assert stored_png.crop_rows(bytes(length), crop, width=48) is None
