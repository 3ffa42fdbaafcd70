"""Data sets as they lie on disk: what pairs with what, and in which order."""

import json
import os
from pathlib import Path

import pytest

from maskdcpt_cli.data.pairs import FilePairs, Names
from maskdcpt_cli.data.sets import ImageSet, check_complete, from_pairs, from_preset
from maskdcpt_cli.data.shards import packing
from maskdcpt_cli.data.shards.pack_items import PackItems
from maskdcpt_cli.data.sources import SourceScan, data_root, scan
from maskdcpt_cli.data.templates import Template
from maskdcpt_cli.degradations import DEGRADATIONS
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.presets.data import (
    Folders,
    Manifest,
    Shards,
    Source,
    TextList,
    TrainPart,
    TrainSynthesis,
)
from tests.datasets import degraded, photos, save


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def folders(gt: str, lq: str | None = None) -> Folders:
    return Folders(name="some", gt=gt, lq=lq)


def listed(names: Names | None) -> list[str]:
    return [] if names is None else [names[index] for index in range(len(names))]


def pairs_of(found: SourceScan | ImageSet) -> list[tuple[str, str]]:
    assert isinstance(found.pairs, FilePairs)
    return list(zip(listed(found.pairs.lq), listed(found.pairs.gt), strict=True))


@pytest.mark.parametrize(
    ("lq", "gt", "pairs"),
    [
        ("in/{name}", "out/{name}", [("in/1.png", "out/1.png")]),
        ("in/{name}", "out/{name}", [("in/1.jpg", "out/1.PNG"), ("in/a b.tif", "out/a b.bmp")]),
        # SOTS: many to one, another suffix, and names that have underscores themselves
        (
            "hazy/{scene}_{airlight}_{beta}",
            "gt/{scene}",
            [
                ("hazy/0001_0.8_0.2.jpg", "gt/0001.png"),
                ("hazy/0001_1_0.08.jpg", "gt/0001.png"),
                ("hazy/a_b_0.8_0.2.jpg", "gt/a_b.png"),
                ("hazy/a_b_c_0.8_0.2.jpg", "gt/a_b_c.png"),
            ],
        ),
        # LOL v2, RainDrop: other words before and after a number
        ("Low/low{n}", "Normal/normal{n}", [("Low/low00001.png", "Normal/normal00001.png")]),
        ("data/{n}_rain", "gt/{n}_clean", [("data/0_rain.png", "gt/0_clean.png")]),
        # RainDS: a word may be empty
        (
            "drop/{place}rd-{n}",
            "gt/{place}norain-{n}",
            [("drop/pie-rd-2.png", "gt/pie-norain-2.png"), ("drop/rd-2.png", "gt/norain-2.png")],
        ),
        # both in one folder
        ("all/rain-{n}", "all/norain-{n}", [("all/rain-1.png", "all/norain-1.png")]),
        # sequences
        (
            "GoPro/{scene}/blur/{frame}",
            "GoPro/{scene}/sharp/{frame}",
            [
                ("GoPro/a/blur/1.png", "GoPro/a/sharp/1.png"),
                ("GoPro/b/blur/1.png", "GoPro/b/sharp/1.png"),
            ],
        ),
        # LFDOF: all of a folder belong to one image
        ("in/{scene}/{f}", "gt/{scene}", [("in/s/1.png", "gt/s.png"), ("in/s/2.png", "gt/s.png")]),
        # folders below folders
        ("in/{path}", "out/{path}", [("in/1.png", "out/1.png"), ("in/x/y/1.png", "out/x/y/1.png")]),
        ("in/{path}_lq", "out/{path}", [("in/x/1_lq.png", "out/x/1.png")]),
        # a word that comes twice, and a suffix that is stated
        ("in/{s}/{s}_{f}.jpg", "gt/{s}.png", [("in/a/a_1.jpg", "gt/a.png")]),
    ],
)
def test_templates_pair_what_shares_its_words(root, lq, gt, pairs):
    touch(root, *{name for pair in pairs for name in pair})
    found = scan(folders(gt, lq), root, "H")
    assert pairs_of(found) == sorted(pairs)
    assert not len(found.unpaired)
    assert not len(found.unused)


def test_what_has_no_partner_is_reported(root):
    touch(root, "in/1.png", "in/2.png", "out/2.png", "out/3.png", "out/2.jpg", "out/note.txt")
    found = scan(folders("out/{n}", "in/{n}"), root, "H")
    assert pairs_of(found) == [("in/2.png", "out/2.jpg")]
    assert listed(found.unpaired) == ["in/1.png"]
    assert listed(found.unused) == ["out/2.png", "out/3.png"]  # the second of a name, too


def test_missing_folders_are_reported_and_no_other(root):
    touch(root, "in/1.png")
    assert scan(folders("out/{n}", "in/{n}"), root, "H").missing == ("out",)
    assert scan(folders("o/p/{s}/g/{n}", "o/p/{s}/l/{n}"), root, "H").missing == ("o/p",)
    assert scan(folders("{n}"), root, "H").missing == ()


def test_files_that_systems_leave_behind_are_no_images(root):
    touch(root, "a/1.png", "a/._1.png", "a/.hidden/2.png", "a/Thumbs.db")
    assert listed(scan(folders("a/{path}"), root, "GN").pairs.gt) == ["a/1.png"]


def test_what_this_program_writes_beside_photos_is_no_photo(root):
    touch(root, "a/1.png", "a/1.png.compare.jpg", "a/1.png.map.png", "a/mine/preset.yaml")
    touch(root, "a/runs/one/preset.yaml", "a/runs/one/launches.jsonl", "a/runs/one/samples/2.jpg")
    touch(root, "a/bench/results.jsonl", "a/bench/examples/3.png", "a/mine/4.png")
    for template, base, below in (("{path}", root / "a", ""), ("a/{path}", root, "a/")):
        found = scan(folders(template), base, "GN").pairs.gt
        assert listed(found) == [f"{below}1.png", f"{below}mine/4.png"]
    run = scan(folders("a/runs/one/{path}"), root, "GN").pairs.gt
    assert listed(run) == ["a/runs/one/samples/2.jpg"], "which is named"
    assert not len(scan(folders("a/{path}.jpg"), root, "GN").pairs)
    named = scan(folders("a/{path}.map.png"), root, "GN").pairs.gt
    assert listed(named) == ["a/1.png.map.png"], "a template may name such files"


def test_other_folders_at_the_same_depth_are_passed_over(root):
    touch(root, "a/blur/1.png", "a/blur_gamma/1.png", "a/blur/deeper/1.png", "1.png")
    assert listed(scan(folders("{s}/blur/{n}"), root, "GN").pairs.gt) == ["a/blur/1.png"]


def test_the_order_is_that_of_names_whatever_the_file_system_gives(root, monkeypatch):
    names = [f"a/{folder}/{number}.png" for folder in "xyz" for number in range(10)]
    touch(root, *names)
    scandir = os.scandir

    class Reversed:
        def __init__(self, folder: str) -> None:
            with scandir(folder) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None:
            pass

    forwards = listed(scan(folders("a/{path}"), root, "GN").pairs.gt)
    monkeypatch.setattr(os, "scandir", Reversed)
    assert listed(scan(folders("a/{path}"), root, "GN").pairs.gt) == forwards == sorted(names)


def test_links_to_folders_are_followed(root):
    touch(root, "elsewhere/1.png")
    (root / "a").symlink_to(root / "elsewhere")
    assert listed(scan(folders("a/{path}"), root, "GN").pairs.gt) == ["a/1.png"]


def test_a_link_to_a_folder_above_is_not_followed(root):
    touch(root, "a/b/1.png", "c/2.png")
    (root / "a/b/again").symlink_to(root / "a")
    (root / "c/there").symlink_to(root / "a/b")
    (root / "a/b/back").symlink_to(root / "c")
    assert listed(scan(folders("a/{path}"), root, "GN").pairs.gt) == ["a/b/1.png", "a/b/back/2.png"]


def test_the_fixed_part_of_a_template_is_its_folder():
    assert Template("a/b/{s}/c/{n}").folder() == "a/b"
    assert Template("{n}").folder() == ""
    assert Template("a/{path}/x").folder() == "a"


def test_text_lists_name_pairs_below_a_folder(root):
    (root / "sets").mkdir()
    (root / "sets/list.txt").write_text("gt/1.png in/1.png\ngt/2.png in/2.png\n")
    source = TextList(name="some", list="sets/list.txt", root="sets")
    found = scan(source, root, "MB")
    assert pairs_of(found) == [("in/1.png", "gt/1.png"), ("in/2.png", "gt/2.png")]
    assert found.pairs.root == root / "sets"
    assert scan(TextList(name="no", list="sets/no.txt"), root, "MB").missing == ("sets/no.txt",)


@pytest.fixture
def manifest(root) -> Manifest:
    lines = []
    for number, word in enumerate(("H", "J", "H", "LL+H+RS+S")):
        slug = DEGRADATIONS[word].slug
        save(root / f"made/{slug}/gt/x/{number}.png", photos()[number])
        save(root / f"made/{slug}/lq/x/{number}.png", degraded(photos()[number], word))
        lines.append({"file": f"x/{number}.png", "type": slug, "kind": "any", "level": 1})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (root / "made/manifest.jsonl").write_text(text)
    return Manifest(name="made", manifest="made/manifest.jsonl")


def test_a_manifest_knows_the_degradation_of_each_pair(root, manifest):
    pairs = scan(manifest, root, None).pairs
    assert [pairs.read(index).degradation for index in range(4)] == ["H", "J", "H", "LL+H+RS+S"]
    lq = pairs.read(3).lq
    assert lq is not None
    assert (lq == degraded(photos()[3], "LL+H+RS+S")).all()


def test_of_a_manifest_one_degradation_can_be_taken(root, manifest):
    found = scan(manifest, root, "H")
    names = [f"haze/{{}}/x/{number}.png" for number in (0, 2)]
    assert pairs_of(found) == [(name.format("lq"), name.format("gt")) for name in names]


@pytest.mark.parametrize(
    "line",
    ["[]", "{", '{"file": "a", "type": 1}', '{"file": "a.png"}', '{"file": "a", "type": "hazy"}'],
)
def test_what_is_no_manifest_is_reported(root, line):
    (root / "m.jsonl").write_text(line)
    with pytest.raises(MaskDCPTError, match="line 1: not a line of a manifest"):
        scan(Manifest(name="m", manifest="m.jsonl"), root, None)


def test_shards_are_a_source(root):
    for number in range(3):
        save(root / f"in/{number}.png", degraded(photos()[number], "H"))
        save(root / f"out/{number}.png", photos()[number])
    items = PackItems(from_pairs([(root / "in", root / "out")], ["H"]))
    sizes = packing.measure(items, jobs=1)
    plans, _ = packing.plan(items, sizes, cropping=packing.Cropping(), shard_size=2**20)
    list(packing.pack(plans, items, root / "shards", cropping=packing.Cropping(), jobs=1))
    source = Shards(name="packed", shards="shards/index.json")
    for word in (None, "H"):
        pairs = scan(source, root, word).pairs
        assert len(pairs) == 3
        assert pairs.degradations() == {"H"}
    with pytest.raises(MaskDCPTError, match="no pairs of J"):
        scan(source, root, "J")
    assert scan(Shards(name="no", shards="no.json"), root, "H").missing == ("no.json",)


def part(*sources: Source, **options: object) -> TrainPart:
    return TrainPart(degradation="H", sources=sources, **options)


def test_every_source_of_a_preset_is_a_set(root):
    touch(root, "in/1.png", "out/1.png", "clean/1.png")
    parts = [part(folders("out/{n}", "in/{n}"), repeat=3), part(folders("clean/{n}"))]
    sets = from_preset(parts, root)
    assert [(one.repeat, len(one)) for one in sets] == [(3, 1), (1, 1)]
    check_complete(sets)


def test_everything_that_is_missing_is_reported_at_once(root):
    touch(root, "in/1.png")
    parts = [part(folders("out/{n}", "in/{n}")), part(folders("x/{n}"), folders("out/{n}"))]
    sets = from_preset(parts, root)
    missing = [f"there is no {name} in '{root}'" for name in ("out", "x", "out")]
    assert [one.missing for one in sets] == missing
    message = rf"missing. some: {missing[0]}; some: {missing[1]}; `maskdcpt data check` lists"
    with pytest.raises(MaskDCPTError, match=message):
        check_complete(sets)


def test_a_source_without_pairs_and_levels_that_do_not_exist_are_refused(root):
    touch(root, "in/1.txt")
    with pytest.raises(MaskDCPTError, match="some: it has no images in"):
        check_complete(from_preset([part(folders("in/{n}"))], root))
    with pytest.raises(MaskDCPTError, match="out of range for haze"):
        from_preset([part(folders("in/{n}"), synthesis=TrainSynthesis(levels=(99,)))], root)


def test_two_folders_are_a_set_wherever_they_are(root):
    touch(root, "a/in/x/1.png", "b/out/x/1.jpg")
    (one,) = from_pairs([(root / "a/in", root / "b/out")], ["H"])
    assert (one.name, one.degradation) == ("a/in", "H")
    assert pairs_of(one) == [("a/in/x/1.png", "b/out/x/1.jpg")]


@pytest.mark.parametrize("name", ["x {a}", "{set 1}", "a\\b", ".cache/lq", "D:lq"])
def test_a_folder_of_pairs_may_have_any_name(root, name):
    touch(root, f"{name}/1.png", "x b/2.png", "gt/1.jpg", "gt/2.jpg")
    (own,) = from_pairs([(root / name, root / "gt")])
    assert pairs_of(own) == [(f"{name}/1.png", "gt/1.jpg")]


def test_folders_may_be_above_the_current_one(root, monkeypatch):
    touch(root, "hazy/1.png", "here/clear/1.png")
    monkeypatch.chdir(root / "here")
    (one,) = from_pairs([(Path("../hazy"), Path("clear"))], ["H"])
    assert pairs_of(one) == [("hazy/1.png", "here/clear/1.png")]


def test_the_data_root_is_given_or_in_the_environment(root, monkeypatch):
    monkeypatch.delenv("MASKDCPT_DATA", raising=False)
    with pytest.raises(MaskDCPTError, match="give --data-root FOLDER, or set MASKDCPT_DATA"):
        data_root(None)
    monkeypatch.setenv("MASKDCPT_DATA", str(root))
    assert data_root(None) == root
    with pytest.raises(MaskDCPTError, match="'nowhere' is not a folder"):
        data_root(Path("nowhere"))


@pytest.mark.parametrize("key", ["manifest", "shards", "list"])
def test_a_pipe_in_place_of_a_file_is_refused_at_once(key, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    source = {"manifest": Manifest, "shards": Shards, "list": TextList}[key]
    with pytest.raises(MaskDCPTError, match="pipe cannot be read: Not a regular file"):
        scan(source.model_validate({"name": "x", key: "pipe"}), tmp_path, "H")
