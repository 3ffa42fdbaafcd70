import os
from pathlib import Path

import pytest

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.scoring.pairing import RULES, Pairing, pair_files


@pytest.fixture
def write_files(tmp_path):
    """Write empty files below `restored` and `gt`; only their names are looked at."""

    def laid(restored: list[str], gt: list[str]) -> tuple[Path, Path]:
        for side, names in (("restored", restored), ("gt", gt)):
            (tmp_path / side).mkdir()
            for name in names:
                path = tmp_path / side / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return tmp_path / "restored", tmp_path / "gt"

    return laid


def partners(pairing: Pairing) -> dict[str, str]:
    return {item.name: item.gt.relative_to(item.gt.parents[-4]).name for item in pairing.items}


def test_the_path_in_the_folder_pairs_whatever_the_suffix(write_files):
    pairing = pair_files(*write_files(["a/1.png", "b/1.png"], ["a/1.jpg", "b/1.JPG", "notes.txt"]))
    assert [(item.name, item.gt.parent.name) for item in pairing.items] == [
        ("a/1.png", "a"),
        ("b/1.png", "b"),
    ]
    assert pairing.missing == pairing.extra == ()


def test_what_the_path_leaves_is_paired_by_name(write_files):
    restored, gt = write_files(["1.png", "night/2.png"], ["1.png", "2.png", "3.png"])
    pairing = pair_files(restored, gt)
    assert partners(pairing) == {"1.png": "1.png", "night/2.png": "2.png"}
    assert pairing.extra == (gt / "3.png",)
    assert pair_files(restored, gt, by="path").missing == (restored / "night/2.png",)


def test_a_ground_truth_of_another_scene_is_not_taken(write_files):
    restored, gt = write_files(["000/1.png", "001/1.png"], ["000/1.png"])
    pairing = pair_files(restored, gt)
    assert [item.name for item in pairing.items] == ["000/1.png"]
    assert pairing.missing == (restored / "001/1.png",)
    (gt / "002").mkdir()
    (gt / "002/1.png").touch()
    with pytest.raises(MaskDCPTError, match=r"could belong to '000/1\.png' and '002/1\.png'"):
        pair_files(restored, gt)


def test_ground_truths_below_the_restored_images_are_not_restored_ones(write_files):
    restored, _ = write_files(["a.png", "gt/a.png"], ["x.png"])
    pairing = pair_files(restored, restored / "gt")
    assert [(item.name, item.gt) for item in pairing.items] == [("a.png", restored / "gt/a.png")]
    assert pairing.missing == pairing.extra == ()


def test_many_restored_images_have_one_ground_truth_by_prefix(write_files):
    names = ["1400_3.png", "1400_7.png", "0001_0.8_0.2.jpg", "1400.png", "14001_1.png"]
    restored, gt = write_files(names, ["1400.png", "0001.png", "1.png"])
    pairing = pair_files(restored, gt, by="prefix")
    assert partners(pairing) == {
        "0001_0.8_0.2.jpg": "0001.png",
        "1400.png": "1400.png",
        "1400_3.png": "1400.png",
        "1400_7.png": "1400.png",
    }
    assert pairing.missing == (restored / "14001_1.png",)
    assert pairing.extra == (gt / "1.png",)


def test_the_longest_prefix_wins(write_files):
    pairing = pair_files(*write_files(["im_1_x.png"], ["im.png", "im_1.png"]), by="prefix")
    assert partners(pairing) == {"im_1_x.png": "im_1.png"}


def test_a_rule_that_would_pair_more_is_reported(write_files):
    pairing = pair_files(*write_files(["1400_3.png"], ["1400.png"]))
    assert not pairing.items
    assert pairing.hint == (
        "--pair-by prefix would pair 1 of them, as '1400_3.png' with '1400.png'."
    )


def test_of_several_images_of_one_name_the_one_of_the_same_suffix_is_taken(write_files):
    restored, gt = write_files(["1.png"], ["1.png", "1.jpg"])
    assert partners(pair_files(restored, gt)) == {"1.png": "1.png"}


@pytest.mark.parametrize("rule", RULES)
def test_ambiguous_names_are_an_error(write_files, rule):
    names = ["x/1.png", "y/1.png"] if rule != "path" else ["1.png", "1.webp"]
    with pytest.raises(MaskDCPTError, match=r"'1\.jpg' could belong to '.*1\.png' and"):
        pair_files(*write_files(["1.jpg"], names), by=rule)


def test_two_files_are_a_pair_whatever_their_names(write_files):
    restored, gt = write_files(["a.png"], ["b.png"])
    (item,) = pair_files(restored / "a.png", gt / "b.png").items
    assert (item.name, item.gt) == ("a.png", gt / "b.png")


def test_a_folder_can_be_compared_with_one_file(write_files):
    restored, gt = write_files(["a.png", "b.png"], ["c.png", "d.png"])
    pairing = pair_files(restored, gt / "c.png")
    assert [item.gt for item in pairing.items] == [gt / "c.png"] * 2


def test_a_file_finds_its_ground_truth_in_a_folder(write_files):
    restored, gt = write_files(["a.png", "b.png"], ["a.png", "b.png"])
    assert partners(pair_files(restored / "b.png", gt)) == {"b.png": "b.png"}


def test_without_ground_truth_all_images_are_taken(write_files):
    restored, _ = write_files(["a.png", "x/b.png", ".hidden/c.png", ".d.png", "e.txt"], [])
    pairing = pair_files(restored, None)
    assert [(item.name, item.gt) for item in pairing.items] == [("a.png", None), ("x/b.png", None)]


def test_sheets_and_links_in_circles_are_no_images(write_files):
    restored, _ = write_files(["a.png", "a.png.compare.jpg", "x/b.png.map.png"], [])
    (restored / "x" / "again").symlink_to(restored)
    assert [item.name for item in pair_files(restored, None).items] == ["a.png"]


def test_a_folder_that_cannot_be_listed_is_an_error(write_files, monkeypatch):
    restored, _ = write_files(["a.png", "x/b.png"], [])
    scandir = os.scandir

    def closed(folder):
        if str(folder).endswith("x"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(MaskDCPTError, match=r"Cannot list the folder '.*x': Permission denied"):
        pair_files(restored, None)


@pytest.mark.parametrize(
    ("gt", "by", "sentence"),
    [
        ("nowhere", "auto", "nowhere' is neither a file nor a folder."),
        ("gt", "auto", "There are no images in '.*gt'"),
        ("restored", "stm", "Unknown rule 'stm'. Did you mean 'stem'"),
    ],
)
def test_what_cannot_be_paired_is_reported(write_files, tmp_path, gt, by, sentence):
    write_files(["a.png"], [])
    with pytest.raises(MaskDCPTError, match=sentence):
        pair_files(tmp_path / "restored", tmp_path / gt, by=by)
