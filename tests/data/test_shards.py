"""Shards: what is packed is read back, at random, in part, and by the library of the format."""

import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import webdataset

from maskdcpt_cli.data.augment import Crop, full_image
from maskdcpt_cli.data.pairs import FilePairs, Names, labels
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.data.shards.index import ShardPairs
from maskdcpt_cli.data.shards.pack_items import PackItems
from maskdcpt_cli.data.shards.packing import (
    Cropping,
    ImageSize,
    PackedShard,
    crops,
    measure,
    pack,
    plan,
)
from maskdcpt_cli.errors import ImageError, MaskDCPTError

SIZES = [(40, 64), (33, 50), (20, 90), (32, 32)]


def write_pairs(folder: Path) -> FilePairs:
    generator = np.random.default_rng(0)
    for number, (height, width) in enumerate(SIZES):
        for side in ("lq", "gt"):
            pixels = generator.integers(0, 256, (height, width, 3), np.uint8)
            (folder / side).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / side / f"{number}.png"), pixels)
    names = [f"{number}.png" for number in range(len(SIZES))]
    lq, gt = (Names(f"{side}/{name}" for name in names) for side in ("lq", "gt"))
    return FilePairs(folder, gt, lq, "H")


def packed(
    parts: list[FilePairs], out: Path, *, jobs: int = 1, shard_size: int = 40_000, compress=False
) -> list[PackedShard]:
    items = PackItems([ImageSet("some", part) for part in parts])
    cropping = Cropping(32, 24, compress)
    plans, skipped = plan(items, measure(items, jobs=1), cropping=cropping, shard_size=shard_size)
    assert not skipped
    return list(pack(plans, items, out, cropping=cropping, jobs=jobs))


@pytest.fixture(scope="module")
def packed_once(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    packed([write_pairs(folder)], folder / "out")
    return folder / "out"


@pytest.fixture
def out(packed_once, tmp_path) -> Path:
    """Shards of the pairs of `write_pairs`, to be damaged."""
    return shutil.copytree(packed_once, tmp_path / "out")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def expected(pairs: FilePairs) -> dict[bytes, bytes]:
    """lq of every crop, by its gt."""
    lq_of = {}
    for index in range(len(pairs)):
        pair = pairs.read(index)
        assert pair.lq is not None
        for crop in crops(*pair.gt.shape[:2], Cropping(32, 24)):
            lq_of[crop.of(pair.gt).tobytes()] = crop.of(pair.lq).tobytes()
    return lq_of


@pytest.mark.parametrize(
    ("length", "starts"), [(31, [0]), (32, [0]), (33, [0, 1]), (56, [0, 24]), (60, [0, 24, 28])]
)
def test_the_last_crop_ends_at_the_border(length, starts):
    cropped = crops(length, 10, Cropping(32, 24))
    assert [crop.top for crop in cropped] == starts
    assert {crop.width for crop in cropped} == {10}
    assert cropped[-1].top + cropped[-1].height == length


@pytest.mark.parametrize("compress", [False, True])
def test_crops_are_read_back_as_they_were(tmp_path, compress):
    pairs = write_pairs(tmp_path)
    done = packed([pairs], tmp_path / "out", compress=compress)
    shards = ShardPairs(tmp_path / "out/index.json")
    assert len(done) > 2
    assert len(shards) == sum(one.shard.samples for one in done)
    assert shards.degradations() == {"H"}
    crops = {}
    for index in range(len(shards)):
        pair = shards.read(index)
        part = shards.read(index, lambda height, width: Crop(height - 9, 3, 8, width - 4))
        assert pair.lq is not None
        assert part.lq is not None
        assert pair.degradation == "H"
        assert np.array_equal(part.gt, pair.gt[-9:-1, 3:-1])
        assert np.array_equal(part.lq, pair.lq[-9:-1, 3:-1])
        crops[pair.gt.tobytes()] = pair.lq.tobytes()
    assert crops == expected(pairs)
    with pytest.raises(IndexError):
        shards.read(len(shards))


@pytest.mark.parametrize("compress", [False, True])
def test_the_webdataset_library_reads_the_same(tmp_path, compress):
    pairs = write_pairs(tmp_path)
    packed([pairs], tmp_path / "out", compress=compress)
    urls = [str(path) for path in sorted((tmp_path / "out").glob("*.tar"))]
    dataset = webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8")
    samples = list(dataset)
    assert len({sample["__key__"] for sample in samples}) == len(samples)
    crops = {sample["gt.png"].tobytes(): sample["lq.png"].tobytes() for sample in samples}
    assert crops == expected(pairs)
    shards = ShardPairs(tmp_path / "out/index.json")
    for index, sample in enumerate(samples):
        assert shards.read(index).name.endswith(sample["__key__"])
        about = sample["json"]
        assert about["degradation"] == "H"
        source = cv2.imread(str(tmp_path / about["gt"]), cv2.IMREAD_COLOR_RGB)
        height, width = sample["gt.png"].shape[:2]
        crop = Crop(about["top"], about["left"], height, width)
        assert np.array_equal(crop.of(source), sample["gt.png"])


def test_the_same_input_gives_the_same_bytes_whatever_the_jobs(tmp_path):
    pairs = write_pairs(tmp_path)
    for out, jobs in (("one", 1), ("two", 2)):
        packed([pairs], tmp_path / out, jobs=jobs)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_pairs_and_clean_crops_are_in_shards_of_their_own(tmp_path):
    pairs = write_pairs(tmp_path)
    clean = replace(pairs, lq=None)
    packed([clean, pairs], tmp_path / "out")
    index = tmp_path / "out/index.json"
    assert {path.name.partition("-")[0] for path in (tmp_path / "out").glob("*.tar")} == {
        "clean",
        "haze",
    }
    assert ShardPairs(index).degradations() == {"H"}
    noisy = ShardPairs(index, "GN", clean=True)
    assert len(noisy) == len(ShardPairs(index, "H"))
    assert noisy.read(0).degradation == "GN"
    assert noisy.read(0).lq is None
    with pytest.raises(MaskDCPTError, match="no pairs of LL; it has: H, clean crops"):
        ShardPairs(index, "LL")
    with pytest.raises(MaskDCPTError, match="give the degradation of the clean crops"):
        ShardPairs(index, clean=True)


def test_clean_pairs_and_types_of_several_words_have_shards_of_their_own(tmp_path):
    pairs = write_pairs(tmp_path)
    sets = [replace(pairs, degradation=word) for word in ("clean", "MB+J")]
    packed([replace(pairs, lq=None), *sets], tmp_path / "out")
    words = {path.name.partition("-")[0] for path in (tmp_path / "out").glob("*.tar")}
    assert words == {"clean", "clean_pairs", "blur_jpeg"}
    assert ShardPairs(tmp_path / "out/index.json").degradations() == {"clean", "MB+J"}


def test_pairs_of_several_degradations_are_packed_apart(tmp_path):
    codes = np.array([labels().index(word) for word in ("LL", "H", "LL", "H")], np.uint8)
    pairs = replace(write_pairs(tmp_path), degradation=codes)
    packed([pairs], tmp_path / "out")
    for degradation, first in (("LL", 0), ("H", 1)):
        shards = ShardPairs(tmp_path / "out/index.json", degradation)
        expected_crops = [
            crop.of(pairs.read(index).gt).tobytes()
            for index in (first, first + 2)
            for crop in crops(*SIZES[index], Cropping(32, 24))
        ]
        held = [shards.read(index) for index in range(len(shards))]
        assert {pair.degradation for pair in held} == {degradation}
        assert sorted(pair.gt.tobytes() for pair in held) == sorted(expected_crops)


def test_shards_hold_no_more_than_they_may_and_every_image(tmp_path):
    done = packed([write_pairs(tmp_path)], tmp_path / "out", shard_size=2**20)
    assert len(done) == 1
    for path in (tmp_path / "out").glob("*.tar"):
        assert path.stat().st_size <= 2**20 + 10240


def test_planning_makes_no_crops_of_what_a_header_claims(tmp_path, monkeypatch):
    items = PackItems([ImageSet("some", write_pairs(tmp_path))])
    monkeypatch.setattr("maskdcpt_cli.data.shards.packing.crops", None)
    sizes = [ImageSize(10**5, 10**5)] * len(items)
    plans, _ = plan(items, sizes, cropping=Cropping(32, 24), shard_size=40_000)
    assert [list(one.numbers) for one in plans] == [[0], [1], [2], [3]]


def test_a_broken_image_is_left_out_and_named(tmp_path):
    pairs = write_pairs(tmp_path)
    (tmp_path / "lq/2.png").write_bytes(b"nothing")
    done = packed([pairs], tmp_path / "out")
    (reason,) = (reason for one in done for reason in one.skipped)
    assert "lq/2.png cannot be read" in reason
    assert len(ShardPairs(tmp_path / "out/index.json")) == len(expected_without(pairs, "lq/2.png"))


def expected_without(pairs: FilePairs, name: str) -> list[Crop]:
    assert pairs.lq is not None
    return [
        crop
        for index in range(len(pairs))
        if pairs.lq[index] != name
        for crop in crops(*pairs.read(index).gt.shape[:2], Cropping(32, 24))
    ]


@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupted_packing_leaves_whole_shards_and_no_index(tmp_path, jobs):
    items = PackItems([ImageSet("some", write_pairs(tmp_path))])
    out, cropping = tmp_path / "out", Cropping(32, 24)
    plans, _ = plan(items, measure(items, jobs=1), cropping=cropping, shard_size=40_000)
    packing = pack(plans, items, out, cropping=cropping, jobs=jobs)
    next(packing)
    packing.close()
    assert "haze-000000.tar" in contents(out)
    assert {path.suffix for path in out.iterdir() if path.name != ".unfinished"} == {".tar"}
    with pytest.raises(MaskDCPTError, match=r"index\.json cannot be read"):
        ShardPairs(out / "index.json")

    list(pack(plans, items, out, cropping=cropping, jobs=jobs))
    list(pack(plans, items, tmp_path / "undisturbed", cropping=cropping, jobs=jobs))
    assert contents(out) == contents(tmp_path / "undisturbed")
    with pytest.raises(MaskDCPTError, match="holds shards already; take another folder"):
        next(pack(plans, items, out, cropping=cropping, jobs=jobs))


def test_what_an_interrupted_run_did_not_write_is_not_replaced(tmp_path):
    items, out, cropping = (
        PackItems([ImageSet("some", write_pairs(tmp_path))]),
        tmp_path / "out",
        Cropping(32, 24),
    )
    plans, _ = plan(items, measure(items, jobs=1), cropping=cropping, shard_size=40_000)
    out.mkdir()
    (tmp_path / "photos.tar").touch()
    (out / ".unfinished").write_text("haze-000000.tar\n../photos.tar\n")
    (out / "photos.tar").touch()
    with pytest.raises(MaskDCPTError, match="holds shards already; take another folder"):
        next(pack(plans, items, out, cropping=cropping, jobs=1))
    (out / "photos.tar").unlink()
    list(pack(plans, items, out, cropping=cropping, jobs=1))
    assert (tmp_path / "photos.tar").exists()


def test_shards_go_to_other_processes_without_their_index(out):
    shards = ShardPairs(out / "index.json")
    shards.read(0)
    sent = pickle.dumps(shards)
    assert len(sent) < 1500
    assert np.array_equal(pickle.loads(sent).read(3).gt, shards.read(3).gt)


def test_a_shard_cut_short_or_missing_is_reported_at_once(out):
    path = out / "haze-000001.tar"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(MaskDCPTError, match=r"haze-000001\.tar is cut short"):
        ShardPairs(out / "index.json")
    path.unlink()
    with pytest.raises(MaskDCPTError, match=r"haze-000001\.tar is missing"):
        ShardPairs(out / "index.json")


def test_a_crop_overwritten_with_zeros_is_a_broken_image(out):
    shards = ShardPairs(out / "index.json")
    path = out / "haze-000000.tar"
    with path.open("r+b") as stream:
        stream.seek(512)
        stream.write(bytes(3000))
    with pytest.raises(ImageError, match=r"haze-000000-000000\.gt\.png cannot be read"):
        shards.read(0, full_image)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", "not an index"),
        ("no json", "not an index"),
        ('{"format": 1}', "not an index"),
        ('{"format": 9, "shards": []}', "format 9"),
        ('{"format": 1, "shards": []}', "has no pairs; it has: nothing"),
    ],
)
def test_what_is_no_index_is_reported(tmp_path, text, sentence):
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(MaskDCPTError, match=sentence):
        ShardPairs(tmp_path / "index.json")


@pytest.mark.parametrize("start", [10**6, 2**63, 2**64 - 1])
@pytest.mark.parametrize("field", ["gt_start", "lq_start"])
def test_a_record_that_points_beyond_its_shard_is_a_broken_image(out, field, start):
    records = np.load(out / "index.npy")
    records[field][0] = start
    np.save(out / "index.npy", records)
    shards = ShardPairs(out / "index.json")
    with pytest.raises(ImageError, match="cannot be read: it would end beyond its shard"):
        shards.read(0)
    assert shards.read(1).gt.size


def test_damaged_records_are_reported(out):
    records = out / "index.npy"
    whole = records.read_bytes()
    for data in (whole[:60], whole[:-1], b"", whole.replace(b"'fortran", b"('fortr")):
        records.write_bytes(data)
        with pytest.raises(MaskDCPTError, match=r"index\.npy beside .* is damaged; pack again"):
            ShardPairs(out / "index.json")
    records.unlink()
    with pytest.raises(MaskDCPTError, match=r"index\.npy is missing beside .*; copy it, too"):
        ShardPairs(out / "index.json")


def test_an_index_of_other_records_is_reported(out):
    index = out / "index.json"
    content = json.loads(index.read_text())
    content["shards"].pop()
    index.write_text(json.dumps(content))
    with pytest.raises(MaskDCPTError, match="do not belong together"):
        ShardPairs(index)
