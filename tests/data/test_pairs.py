"""Names and pairs: what goes in comes out, whatever bytes are in a name."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskdcpt_cli.data.augment import Crop
from maskdcpt_cli.data.pairs import FilePairs, Names, labels, read_list
from maskdcpt_cli.errors import ImageError, MaskDCPTError

ODD = ["a.png", "", "Ünïcode/日本.jpg", os.fsdecode(b"not-utf8-\xff.png"), "with space.png"]


def write(path: Path, *, height: int = 12, width: int = 20, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels[..., ::-1])
    return pixels


def test_names_come_out_as_they_went_in():
    names = Names(iter(ODD))
    assert [names[index] for index in range(len(names))] == ODD
    with pytest.raises(IndexError):
        names[len(ODD)]
    assert len(Names([])) == 0


def test_a_pair_is_read_whole_or_in_part(tmp_path):
    gt, lq = write(tmp_path / "gt/a.png", seed=1), write(tmp_path / "lq/a.png", seed=2)
    pairs = FilePairs(tmp_path, Names(["gt/a.png"]), Names(["lq/a.png"]), "H")
    pair = pairs.read(0)
    assert (pair.name, pair.degradation) == ("lq/a.png", "H")
    assert np.array_equal(pair.gt, gt)
    part = pairs.read(0, lambda height, width: Crop(2, width - 5, height - 4, 5))
    assert part.lq is not None
    assert np.array_equal(part.lq, lq[2:10, 15:])
    assert np.array_equal(part.gt, gt[2:10, 15:])


def test_a_clean_image_has_no_lq(tmp_path):
    write(tmp_path / "a.png")
    assert FilePairs(tmp_path, Names(["a.png"]), None, "GN").read(0).lq is None


def test_each_pair_may_have_a_degradation_of_its_own():
    codes = np.array([labels().index(word) for word in ("LL", "H", "LL")], np.uint8)
    pairs = FilePairs(Path(), Names("abc"), Names("abc"), codes)
    assert [pairs.degradation_of(index) for index in range(3)] == ["LL", "H", "LL"]
    assert pairs.degradations() == {"LL", "H"}


def test_images_of_two_sizes_are_refused_by_name(tmp_path):
    write(tmp_path / "gt.png", height=8)
    write(tmp_path / "lq.png", height=9)
    pairs = FilePairs(tmp_path, Names(["gt.png"]), Names(["lq.png"]), "H")
    with pytest.raises(ImageError, match=r"lq\.png is 20x9 pixels, but .* gt\.png 20x8"):
        pairs.read(0)


@pytest.mark.parametrize(
    "text", ["g/1 l/1\ng/2 l/2\n", "g/1\tl/1\r\n\r\ng/2 l/2\r\n", "g/1 l/1\n\ng/2 l/2"]
)
def test_a_list_names_gt_and_lq_on_a_line(tmp_path, text):
    (tmp_path / "list.txt").write_bytes(text.encode())
    gt, lq = read_list(tmp_path / "list.txt")
    assert lq is not None
    assert [(gt[index], lq[index]) for index in range(len(gt))] == [("g/1", "l/1"), ("g/2", "l/2")]
    assert len(lq) == 2


@pytest.mark.parametrize(("text", "names"), [("a\nb", ["a", "b"]), ("a\r\n", ["a"]), ("", [])])
def test_a_list_may_name_clean_images_alone(tmp_path, text, names):
    (tmp_path / "list.txt").write_bytes(text.encode())
    gt, lq = read_list(tmp_path / "list.txt")
    assert lq is None
    assert [gt[index] for index in range(len(gt))] == names


@pytest.mark.parametrize("line", ["three names here", "one", "two  spaces"])
def test_a_line_of_other_form_is_refused_by_its_number(tmp_path, line):
    (tmp_path / "list.txt").write_text(f"a b\n\n{line}\nc d\n")
    with pytest.raises(MaskDCPTError, match="line 3"):
        read_list(tmp_path / "list.txt")


def test_a_list_that_is_not_there_is_reported():
    with pytest.raises(MaskDCPTError, match="nowhere"):
        read_list(Path("nowhere.txt"))
