import numpy as np
import pytest
from PIL import Image

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.contact_sheets import (
    FRAMES,
    SHEET_SUFFIX,
    WIDTH,
    before_after,
    grid,
    most_different,
    write_sheet,
)


def plain(height: int, width: int, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def holds(sheet: np.ndarray, photo: np.ndarray) -> bool:
    """Whether the photo's pixels lie somewhere on the sheet as they are."""
    windows = np.lib.stride_tricks.sliding_window_view(sheet, photo.shape)
    return bool((windows == photo).all(axis=(-1, -2, -3)).any())


def noise(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_grid_holds_every_photo_as_it_is():
    photos = [[noise(6, 9, 0), noise(4, 5, 1)], [noise(3, 3, 2), noise(8, 7, 3)]]
    titles = {"column_titles": ["one", "two"], "row_titles": ["first", "second"]}
    for options in ({}, titles):
        sheet = grid(photos, **options)
        assert sheet.dtype == np.uint8
        assert all(holds(sheet, photo) for row in photos for photo in row)


def test_titles_are_drawn_outside_the_photos():
    photos = [[plain(20, 60), plain(20, 60)]]
    bare, titled = grid(photos), grid(photos, column_titles=["a", "b"], row_titles=["caf\udce9"])
    assert titled.shape[0] > bare.shape[0]
    assert titled.shape[1] > bare.shape[1]
    assert titled.min() < 100 < bare.min()


@pytest.mark.parametrize("titles", [{"column_titles": ["one"]}, {"row_titles": ["a", "b"]}])
def test_titles_must_be_as_many_as_what_they_name(titles):
    with pytest.raises(ValueError, match=r"shorter|longer"):
        grid([[plain(2, 2), plain(2, 2)]], **titles)


def test_the_most_different_places_are_found_strongest_first():
    lq = plain(100, 120)
    restored = lq.copy()
    for top, left, difference in ((10, 80, 40), (70, 10, 90), (40, 40, 20), (80, 100, 5)):
        restored[top : top + 10, left : left + 10] += np.uint8(difference)
    found = most_different(lq, restored, side=20)
    assert len(found) == 3
    for window, (top, left) in zip(found, [(70, 10), (10, 80), (40, 40)], strict=True):
        assert window.top <= top <= window.top + 10
        assert window.left <= left <= window.left + 10


def test_the_places_do_not_overlap():
    found = most_different(noise(60, 60, 0), noise(60, 60, 1), side=20)
    covered = np.zeros((60, 60), int)
    for window in found:
        covered[window.top : window.top + 20, window.left : window.left + 20] += 1
    assert len(found) == 3
    assert covered.max() == 1


@pytest.mark.parametrize("size", [(10, 100), (100, 10), (1, 1)])
def test_photos_smaller_than_a_place_have_none(size):
    assert not most_different(plain(*size), plain(*size, value=0), side=20)


def test_equal_photos_have_no_regions():
    assert not most_different(plain(50, 50), plain(50, 50), side=20)


@pytest.mark.parametrize("size", [(1, 1), (40, 48), (400, 300), (30, 3000), (3000, 30)])
def test_a_sheet_of_any_size_is_bounded(size):
    sheet = before_after(plain(*size), plain(*size, value=90), title="holiday.jpg")
    assert sheet.shape[1] <= WIDTH
    assert sheet.shape[0] <= 2000


def test_places_that_differ_are_enlarged_and_framed():
    lq = plain(320, 480)
    restored = lq.copy()
    restored[100:180, 200:280] = 250
    changed, same = before_after(lq, restored), before_after(lq, lq)
    assert changed.shape[0] > same.shape[0]
    assert (changed == FRAMES[0]).all(axis=2).any()
    assert not (same == FRAMES[0]).all(axis=2).any()


def test_a_sheet_is_written_beside_the_result(tmp_path):
    Image.fromarray(plain(40, 48)).save(tmp_path / "a.png")
    Image.fromarray(plain(40, 48, value=200)).save(tmp_path / "b.webp")
    sheet = write_sheet(tmp_path / "a.png", tmp_path / "b.webp")
    assert sheet == tmp_path / f"b.webp{SHEET_SUFFIX}"
    with Image.open(sheet) as image:
        assert image.format == "JPEG"
    assert len(list(tmp_path.iterdir())) == 3


def test_previews_that_differ_by_a_row_give_a_sheet(tmp_path):
    for name, height in (("a.png", 41), ("b.png", 40)):
        Image.fromarray(plain(height, 60)).save(tmp_path / name)
    assert write_sheet(tmp_path / "a.png", tmp_path / "b.png").exists()


def test_a_sheet_that_cannot_be_written_leaves_nothing(tmp_path):
    Image.fromarray(plain(4, 4)).save(tmp_path / "a.png")
    (tmp_path / f"a.png{SHEET_SUFFIX}").mkdir()
    with pytest.raises(ImageError, match="Cannot write"):
        write_sheet(tmp_path / "a.png", tmp_path / "a.png")
    assert len(list(tmp_path.iterdir())) == 2
