"""Every fault of a data set is found, and a data set without one passes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.data.audit.inspect import inspect
from maskdcpt_cli.data.audit.phash import MAX_DISTANCE, alike, fingerprint, near
from maskdcpt_cli.data.audit.scan import PROBLEM_TYPES, Problem, scan_preset
from maskdcpt_cli.data.audit.swapped_pairs import SIGNS, all_swapped, swapped, vote
from maskdcpt_cli.data.sets import from_pairs
from maskdcpt_cli.data.shards import packing
from maskdcpt_cli.data.shards.pack_items import PackItems
from maskdcpt_cli.degradations import DEGRADATIONS
from maskdcpt_cli.presets.data import Data, EvalPart, Folders, Shards, TextList, TrainPart
from tests.datasets import degraded, photos, save

TRAINED = 9  # of the photos; the others are for tests
HARD_TO_TELL = {"RD", "MS", "MB+RS", "DS+GN+GB+J", "MR"}  # on photos that are as soft as ours


def folders(name: str, gt: str, lq: str | None = None, **options: int) -> Folders:
    return Folders(name=name, gt=gt, lq=lq, **options)


PRESET = Data(
    setting="5d",
    train=(
        TrainPart(
            degradation="H",
            pairs=2 * TRAINED,
            sources=(folders("OTS", "ots/clear/{scene}", "ots/haze/{scene}_{airlight}"),),
        ),
        TrainPart(
            degradation="LL",
            sources=(folders("LOL", "lol/high/{n}", "lol/low/{n}", pairs=TRAINED),),
        ),
        TrainPart(degradation="MB", sources=(TextList(name="REDS", list="reds.txt"),)),
        TrainPart(degradation="GN", sources=(folders("BSD", "bsd/{path}"),), variants=3),
    ),
    test=(
        EvalPart(degradation="LL", sources=(folders("LOL", "test/high/{n}", "test/low/{n}"),)),
        EvalPart(degradation="GN", sources=(folders("CBSD", "test/high/{n}"),)),
    ),
)


@pytest.fixture(scope="session")
def clean(tmp_path_factory) -> Path:
    """A data root without a fault."""
    root = tmp_path_factory.mktemp("clean")
    lines = []
    for number, photo in enumerate(photos()[:TRAINED]):
        save(root / f"ots/clear/{number}.jpg", photo, quality=95)
        for seed in (0, 1):
            haze = degraded(photo, "H", seed=seed)
            save(root / f"ots/haze/{number}_0.{seed}.png", haze)
        save(root / f"lol/high/{number}.png", photo)
        save(root / f"lol/low/{number}.png", degraded(photo, "LL", seed=number))
        save(root / f"reds/sharp/{number}.png", photo)
        save(root / f"reds/blur/{number}.png", degraded(photo, "MB", seed=number))
        lines.append(f"reds/sharp/{number}.png reds/blur/{number}.png\n")
        save(root / f"bsd/{number}.png", photo)
    (root / "reds.txt").write_text("".join(lines))
    for number, photo in enumerate(photos()[TRAINED:]):
        save(root / f"test/high/{number}.png", photo)
        save(root / f"test/low/{number}.png", degraded(photo, "LL", seed=number))
    return root


@pytest.fixture
def root(clean, tmp_path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(clean, tmp_path / "data"))


def found(root: Path, *, preset: Data = PRESET, jobs: int = 1) -> list[Problem]:
    known = scan_preset(preset, root)
    steps = list(inspect(known, jobs=jobs))
    assert len(steps) == len(known) + 1
    return [*known.problems, *(problem for step in steps for problem in step)]


def cut_short(root: Path) -> None:
    path = root / "lol/low/2.png"
    path.write_bytes(path.read_bytes()[:-500])


def damaged(root: Path) -> None:
    path = root / "ots/clear/3.jpg"
    path.write_bytes(b"\xff\xd8\xff" + bytes(1000))


def of_other_size(root: Path) -> None:
    save(root / "reds/blur/4.png", photos()[4][:-1])


def without_gt(root: Path) -> None:
    (root / "ots/clear/0.jpg").unlink()


def without_lq(root: Path) -> None:
    (root / "lol/low/0.png").unlink()


def without_folder(root: Path) -> None:
    shutil.rmtree(root / "bsd")


def without_images(root: Path) -> None:
    shutil.rmtree(root / "bsd")
    (root / "bsd").mkdir()


def without_listed_file(root: Path) -> None:
    (root / "reds/blur/1.png").unlink()


def swapped_folders(root: Path) -> None:
    (root / "lol/low").rename(root / "lol/kept")
    (root / "lol/high").rename(root / "lol/low")
    (root / "lol/kept").rename(root / "lol/high")


def one_swapped(root: Path) -> None:
    blur, sharp = root / "reds/blur/5.png", root / "reds/sharp/5.png"
    kept = blur.read_bytes()
    blur.write_bytes(sharp.read_bytes())
    sharp.write_bytes(kept)


def leaked(root: Path) -> None:
    smaller = cv2.resize(photos()[TRAINED + 1], None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    save(root / "bsd/again.jpg", smaller, quality=50)


def too_many(root: Path) -> None:
    save(root / "ots/haze/1_0.7.png", degraded(photos()[1], "H", seed=2))


def unused(root: Path) -> None:
    save(root / "ots/clear/more.png", photos()[0])


# A fault, and what is to be found of it: kind, source, and what the sentence names.
FAULTS: list[tuple[Callable[[Path], None], str, str, str]] = [
    (cut_short, "unreadable", "train LL LOL", "lol/low/2.png cannot be read"),
    (damaged, "unreadable", "train H OTS", "ots/clear/3.jpg cannot be read"),
    (of_other_size, "size", "train MB REDS", "160x119 pixels, its clean reds/sharp/4.png 160x120"),
    (without_gt, "unpaired", "train H OTS", "ots/haze/0_0.0.png has no clean image"),
    (without_lq, "unpaired", "train LL LOL", "lol/high/0.png has no degraded image"),
    (without_folder, "missing", "train GN BSD", "bsd is not there"),
    (without_images, "missing", "train GN BSD", "No pairs are there"),
    (without_listed_file, "missing", "train MB REDS", "reds/blur/1.png is not there"),
    (swapped_folders, "swapped", "train LL LOL", "swapped in 9 of 9 pairs"),
    (one_swapped, "swapped", "train MB REDS", "reds/blur/5.png looks cleaner"),
    (leaked, "leak", "train GN BSD", "bsd/again.jpg is test/high/1.png of test LL LOL"),
    (too_many, "count", "train H", "18 pairs are expected in all, and 19 are there"),
    (unused, "unused", "train H OTS", "ots/clear/more.png has no degraded image"),
]


def test_data_without_a_fault_pass(clean):
    assert found(clean) == []


@pytest.mark.parametrize(("damage", "kind", "source", "text"), FAULTS)
def test_a_fault_is_found_and_nothing_else(root, damage, kind, source, text):
    damage(root)
    problems = found(root)
    assert {problem.kind for problem in problems} <= {kind, "count"}
    assert any(
        (problem.kind, problem.source) == (kind, source) and text in problem.text
        for problem in problems
    )


def test_all_faults_are_found_at_once_by_one_process_or_two(root):
    exclude_others = (swapped_folders, without_folder, without_images, too_many)
    at_once = [fault for fault in FAULTS if fault[0] not in exclude_others]
    for damage, *_ in at_once:
        damage(root)
    problems = found(root)
    assert problems == found(root, jobs=2)
    for _, kind, source, text in at_once:
        assert any(
            (problem.kind, problem.source) == (kind, source) and text in problem.text
            for problem in problems
        ), text


def test_only_warnings_are_no_errors():
    assert {kind for kind in PROBLEM_TYPES if not PROBLEM_TYPES[kind].error} == {"unused", "count"}


def test_numbers_are_not_compared_where_something_is_missing(root):
    shutil.rmtree(root / "ots/haze")
    assert [problem.kind for problem in found(root) if problem.source.startswith("train H")] == [
        "missing"
    ]


def test_variants_are_counted_as_the_paper_does(root):
    gn = PRESET.train[3].model_copy(update={"pairs": 3 * TRAINED})
    assert not found(root, preset=Data(setting="5d", train=(gn,)))


def test_images_of_several_parts_are_read_once(root):
    parts = [TrainPart(degradation=word, sources=PRESET.train[3].sources) for word in ("GN", "LL")]
    damaged_file = root / "bsd/0.png"
    damaged_file.write_bytes(b"nothing")
    preset = Data(setting="5d", train=tuple(parts))
    known = scan_preset(preset, root)
    assert len(known.rows) == 2
    assert len(known) == TRAINED
    assert len(found(root, preset=preset)) == 1


def test_a_clean_image_of_many_pairs_is_reported_once(root):
    for number in range(40):
        shutil.copy(root / "ots/haze/3_0.1.png", root / f"ots/haze/3_1.{number:02}.png")
    damaged(root)
    assert [problem.kind for problem in found(root)].count("unreadable") == 1


def test_a_list_in_utf_16_is_reported(root):
    lines = (root / "reds.txt").read_text()
    (root / "reds.txt").write_text(lines, encoding="utf-16")
    kinds = {one.kind for one in found(root) if one.source == "train MB REDS"}
    assert kinds == {"unreadable"}


def test_a_leak_of_each_test_set_is_reported_also_of_files_of_one_name(root):
    sources = []
    for number in (0, 1):
        save(root / f"t{number}/001.png", photos()[number])
        (root / f"t{number}.txt").write_text("001.png 001.png\n")
        sources.append(TextList(name=f"T{number}", list=f"t{number}.txt", root=f"t{number}"))
    test = (EvalPart(degradation="MB", sources=tuple(sources)),)
    preset = PRESET.model_copy(update={"test": test, "train": PRESET.train[3:]})
    leaks = [one.text for one in found(root, preset=preset) if one.kind == "leak"]
    assert len(leaks) == 2


def test_a_list_that_cannot_be_understood_is_a_problem_and_no_end(root):
    (root / "reds.txt").write_text("one two three\n")
    (problem,) = found(root)
    assert (problem.kind, problem.source) == ("unreadable", "train MB REDS")


def test_shards_are_checked_too(root):
    one_swapped(root)
    items = PackItems(from_pairs([(root / "reds/blur", root / "reds/sharp")], ["MB"]))
    sizes = packing.measure(items, jobs=1)
    plans, _ = packing.plan(items, sizes, cropping=packing.Cropping(), shard_size=2**30)
    list(packing.pack(plans, items, root / "shards", cropping=packing.Cropping(), jobs=1))
    part = TrainPart(degradation="MB", sources=(Shards(name="s", shards="shards/index.json"),))
    problems = found(root, preset=Data(setting="5d", train=(part,), test=PRESET.test))
    assert [problem.kind for problem in problems] == ["swapped"]
    shard = next((root / "shards").glob("*.tar"))
    content = bytearray(shard.read_bytes())
    content[2_000:4_000] = bytes(2_000)
    shard.write_bytes(content)
    kinds = [problem.kind for problem in found(root, preset=Data(setting="5d", train=(part,)))]
    assert "unreadable" in kinds


@pytest.mark.parametrize("degradation", DEGRADATIONS)
def test_our_own_pairs_are_never_taken_for_swapped(degradation):
    pairs = [(degraded(photo, degradation, seed=7), photo) for photo in photos()]
    votes = np.array([vote(degradation, lq, gt) for lq, gt in pairs])
    assert not all_swapped(votes)
    assert not len(swapped(degradation, votes))
    if degradation not in HARD_TO_TELL:
        assert all_swapped(-votes)


@pytest.mark.parametrize("degradation", [word for word, sign in SIGNS.items() if sign.reliable])
def test_one_swapped_pair_among_others_is_reported(degradation):
    votes = np.array([1.0, 0.9, 0.2, 1.4, 1.1, -1.0, 1.2, 0.05, 0.6, -0.02])
    assert swapped(degradation, votes).tolist() == [5]
    assert not len(swapped(degradation, votes[3:7]))  # too few to tell
    assert not len(swapped(degradation, -votes))  # all the others are


def test_a_fingerprint_survives_scaling_and_jpeg():
    for photo in photos():
        smaller = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        again = cv2.imdecode(cv2.imencode(".jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 1)
        of_one, of_other = fingerprint(photo), fingerprint(again)
        assert of_one is not None
        assert of_other is not None
        assert (of_one ^ of_other).bit_count() <= MAX_DISTANCE
        assert alike(photo, again)


def test_flat_images_have_no_fingerprint():
    assert fingerprint(np.full((50, 50, 3), 90, np.uint8)) is None


def test_images_of_near_fingerprints_that_differ_are_not_alike():
    assert not alike(photos()[0], photos()[1])
    assert not alike(photos()[0], 255 - photos()[0])


def test_the_search_finds_all_that_are_near_and_no_other():
    generator = default_rng(0)
    known = generator.integers(2**64, size=3000, dtype=np.uint64)
    queries = known[::3].copy()
    for index in range(len(queries)):
        flips = generator.choice(64, size=index % 12, replace=False)
        queries[index] ^= np.uint64(sum(1 << int(bit) for bit in flips))
    expected = {(3 * index, index) for index in range(len(queries)) if index % 12 <= MAX_DISTANCE}
    assert {(one, other) for one, other in near(known, queries).tolist()} == expected


@pytest.mark.parametrize("count", [0, 1])
def test_the_search_among_none_finds_none(count):
    some = np.zeros(count, np.uint64)
    none = np.zeros(0, np.uint64)
    assert near(some, none).shape == near(none, some).shape == (0, 2)
