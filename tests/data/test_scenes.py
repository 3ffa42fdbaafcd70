"""Which pairs show one scene: of files, videos, manifests, and the crops of shards."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskdcpt_cli.data.degrading import DegradeRequest, degrade_photos, discover_photos
from maskdcpt_cli.data.pairs import Pairs, scenes_of
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.data.shards.index import ShardPairs
from maskdcpt_cli.data.shards.pack_items import PackItems
from maskdcpt_cli.data.shards.packing import Cropping, measure, pack, plan
from maskdcpt_cli.data.sources import scan
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.presets.data import Folders, Manifest, TextList
from tests.data.servers import serving
from tests.training.runs import Drawn


def write(root: Path, *names: str) -> None:
    for value, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 20, 3), value, np.uint8)).save(root / name)


def groups(pairs: Pairs) -> list[int]:
    """The number of the first pair of the scene of each pair."""
    scenes = scenes_of(pairs).tolist()
    return [scenes.index(number) for number in scenes]


def test_lq_of_one_gt_are_of_one_scene(tmp_path):
    write(tmp_path, "gt/a.png", "gt/b.png", "lq/a_1.png", "lq/a_2.png", "lq/b_1.png")
    for word in ("scene", "name"):
        source = Folders(name="a", lq=f"lq/{{{word}}}_{{level}}", gt=f"gt/{{{word}}}")
        pairs = scan(source, tmp_path, "H").pairs
        assert groups(pairs) == [0, 0, 2]


def test_frames_of_a_video_are_of_one_scene(tmp_path):
    write(tmp_path, *(f"{one}/{side}/{n}.png" for one in "ab" for side in "lg" for n in range(2)))
    by_scene = Folders(name="a", lq="{scene}/l/{frame}", gt="{scene}/g/{frame}")
    assert groups(scan(by_scene, tmp_path, "MB").pairs) == [0, 0, 2, 2]
    clean = Folders(name="a", gt="{scene}/g/{frame}")
    assert groups(scan(clean, tmp_path, "MB").pairs) == [0, 0, 2, 2]
    others = Folders(name="a", lq="{video}/l/{frame}", gt="{video}/g/{frame}")
    assert groups(scan(others, tmp_path, "MB").pairs) == [0, 1, 2, 3]


def test_a_list_may_name_a_gt_several_times(tmp_path):
    (tmp_path / "list.txt").write_text("gt/a.png lq/1.png\ngt/b.png lq/2.png\ngt/a.png lq/3.png\n")
    assert groups(scan(TextList(name="a", list="list.txt"), tmp_path, "H").pairs) == [0, 1, 0]


def test_a_photo_that_was_degraded_in_several_ways_is_one_scene(tmp_path):
    lines = [("haze", "a.png"), ("jpeg", "a.png"), ("haze", "b/a.png")]
    text = "".join(f"{json.dumps({'type': slug, 'file': file})}\n" for slug, file in lines)
    (tmp_path / "manifest.jsonl").write_text(text)
    pairs = scan(Manifest(name="a", manifest="manifest.jsonl"), tmp_path, None).pairs
    assert groups(pairs) == [0, 0, 2]


def test_a_photo_that_was_degraded_several_times_is_one_scene(tmp_path):
    write(tmp_path / "photos", "a.png", "b_1.png", "b_2.png")
    photos = discover_photos([tmp_path / "photos"], out=tmp_path / "out")
    list(degrade_photos(photos, tmp_path / "out", [DegradeRequest("J")], per_photo=2))
    pairs = scan(Manifest(name="a", manifest="manifest.jsonl"), tmp_path / "out", None).pairs
    assert groups(pairs) == [0, 0, 2, 2, 4, 4]


def test_each_pair_of_a_source_that_knows_no_scenes_is_one():
    assert groups(Drawn(3)) == [0, 1, 2]


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write(root, "gt/a.png", "gt/b.png", "lq/a_1.png", "lq/a_2.png", "lq/b_1.png")
    source = Folders(name="a", lq="lq/{name}_{level}", gt="gt/{name}")
    items = PackItems([ImageSet("some", scan(source, root, "H").pairs)])
    cropping = Cropping(8, 8)  # three crops of each image
    plans, _ = plan(items, measure(items, jobs=1), cropping=cropping, shard_size=9000)
    list(pack(plans, items, root / "out", cropping=cropping, jobs=1))
    return root / "out/index.json"


def test_crops_of_one_photo_are_of_one_scene_in_all_shards(index):
    pairs = ShardPairs(index)
    assert len(pairs.shards) == 3
    values = [int(pairs.read(number).gt[0, 0, 0]) for number in range(len(pairs))]
    assert sorted(values) == [0] * 6 + [1] * 3
    assert groups(pairs) == [values.index(value) for value in values]
    with serving(index.parent) as server:
        assert np.array_equal(scenes_of(ShardPairs(server.index)), scenes_of(pairs))


def test_shards_of_earlier_versions_have_the_same_scenes(index):
    pairs = ShardPairs(index)
    scenes = scenes_of(pairs)
    path = index.with_name("scenes.npy")
    whole = path.read_bytes()
    path.unlink()
    assert np.array_equal(scenes_of(pairs), scenes)
    with serving(index.parent) as server:
        remote = ShardPairs(server.index)
        with pytest.raises(MaskDCPTError, match=r"scenes\.npy cannot be read: .* 404 Not Found"):
            remote.scenes()
    path.write_bytes(whole[:70])
    with pytest.raises(MaskDCPTError, match=r"scenes\.npy beside .* is damaged; pack again"):
        pairs.scenes()
    np.save(path, scenes[1:])
    with pytest.raises(MaskDCPTError, match=r"index\.json and scenes\.npy do not belong together"):
        pairs.scenes()
    path.write_bytes(whole)
