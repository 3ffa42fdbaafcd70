"""Test sets: where they are found, and how clean images become some."""

import os
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from maskdcpt_cli.benchmarking.test_sets import (
    from_photos,
    from_preset,
    key,
    read_sample,
    sample_name,
    sample_state,
    synthesize_lq,
    title,
)
from maskdcpt_cli.data.sets import ImageSet, from_pairs
from maskdcpt_cli.data.shards.index import ShardPairs
from maskdcpt_cli.degradations import CLEAN
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.presets.data import SeededSynthesis
from maskdcpt_cli.presets.load import load_data, names
from tests.benchmarking.layouts import COUNT, SIDE, crops, lay_out
from tests.data.packing import packed
from tests.datasets import save

SIGMAS = (15, 25, 50, 60, 75)
WITH_TESTS = [name for name in names() if load_data(name).test]


@pytest.mark.parametrize("preset", WITH_TESTS)
def test_every_test_set_is_found_where_its_preset_says(preset, tmp_path):
    lay_out(tmp_path, preset)
    sets = from_preset(load_data(preset), tmp_path)
    assert not [one.missing for one in sets if one.missing]
    assert len({key(one) for one in sets}) == len(sets)
    for one in sets:
        assert len(one) == COUNT
        sample = read_sample(one, 1)
        assert sample.name == sample_name(one, 1)
        assert sample.lq.shape == (SIDE, SIDE, 3)
        assert (sample.gt is None) == one.blind
        same = one.blind or one.degradation == CLEAN
        assert same or np.abs(sample.lq * 255 - sample.gt).max() > 1


def test_test_sets_that_would_share_their_files_are_told_apart_or_refused(tmp_path):
    save(tmp_path / "a" / "1.png", crops()[0])
    source = "[{name: a, gt: 'a/{n}'}]"
    parts = [
        f"- {{degradation: GN, synthesis: {{variant: {v}, levels: [25]}}, sources: {source}}}"
        for v in ("gaussian", "poisson")
    ]
    own = tmp_path / "own.yaml"
    own.write_text("\n".join(["setting: 5d", "train: []", "test:", *parts]))
    data = load_data(str(own))
    names = [one.name for one in from_photos(data, tmp_path / "a")]
    assert names == ["a", "a #2"]
    with pytest.raises(MaskDCPTError, match="2 test sets are named GN-25-a"):
        from_preset(data, tmp_path)


def test_noise_is_that_of_the_release():
    gt = np.divide(crops()[0], 255, dtype=np.float32)
    for sigma in SIGMAS:
        np.random.seed(0)  # noqa: NPY002  # as the release does
        noisy = gt.copy()
        noisy += np.random.normal(0, sigma / 255, gt.shape)  # noqa: NPY002  # likewise
        synthesis = SeededSynthesis(variant="gaussian", levels=[sigma], seed=0)
        lq = synthesize_lq(gt, "GN", synthesis, name="any.png")
        np.testing.assert_array_equal(lq, noisy.clip(0, 1))


def test_jpeg_is_that_of_opencv():
    gt = crops()[0]
    lq = synthesize_lq(
        np.divide(gt, 255, dtype=np.float32), "J", SeededSynthesis(levels=[50]), name="a"
    )
    _, data = cv2.imencode(".jpg", gt[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 50])
    expected = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(np.rint(lq * 255), expected)


def test_blur_is_another_for_each_image_and_the_same_every_time():
    gt = np.divide(crops()[0], 255, dtype=np.float32)
    lq = [
        synthesize_lq(gt, "GB", SeededSynthesis(seed=0), name=name)
        for name in ("a", "b", "x/a.png")
    ]
    assert not np.array_equal(lq[0], lq[1])
    np.testing.assert_array_equal(lq[0], lq[2])


def test_photos_are_degraded_in_each_way_of_the_preset(clean):
    sets = from_photos(load_data("12d"), clean)
    assert [key(one) for one in sets] == [
        "GN-50-clean", "GN-25-clean", "GN-15-clean", "J-50-clean", "MS-clean", "GB-clean",
    ]  # fmt: skip
    with pytest.raises(
        MaskDCPTError,
        match="no synthetic test sets, so it cannot degrade photos; use denoise or 12d",
    ):
        from_photos(load_data("derain"), clean)


def test_result_caches_of_earlier_versions_stay_valid(clean):
    synthesis = SeededSynthesis(variant="gaussian", levels=(25,), seed=0)
    testset = replace(from_photos(load_data("denoise"), clean)[0], synthesis=synthesis)
    former = "SeededSynthesis(kind='gaussian', levels=(25.0,), seed=0)"
    assert sample_state(testset, 0)[0] == former


def test_pairs_without_partners_are_refused(pairs):
    (pairs[1] / "2.png").unlink()
    with pytest.raises(MaskDCPTError, match=r"'rain/lq/2\.png'|'lq/2\.png' has no partner"):
        from_pairs([pairs])


def test_pairs_of_the_same_folder_name_are_distinguished(pairs, tmp_path):
    other = tmp_path / "more" / "rain"
    (tmp_path / "more").mkdir()
    (tmp_path / "rain").rename(other)
    sets = from_pairs([(other / "lq", other / "gt"), (other / "lq", other / "gt")])
    assert [key(one) for one in sets] == ["rain-lq", "rain-lq-2"]


def test_keys_and_titles_tell_sets_apart(clean, tmp_path):
    for name in ("雨", "雪"):
        shutil.copytree(clean, tmp_path / name / "lq")
    both = from_pairs([(tmp_path / name / "lq", clean) for name in ("雨", "雪")], ["RS", "RS"])
    assert len({key(one) for one in both}) == 2
    sets = from_photos(load_data("embedded"), clean)
    assert len({title(one) for one in sets}) == len(sets)


def test_the_state_of_a_pair_in_shards_changes_where_it_is_packed_again(tmp_path):
    states = []
    for number in range(2):
        out = packed(tmp_path / "shards", images=2)
        os.utime(out / "index.json", ns=(0, number))
        one = ImageSet("some", ShardPairs(out / "index.json"))
        states.append(sample_state(one, 1))
        shutil.rmtree(tmp_path / "shards")
    assert states[0] != states[1]
    assert states[0][:-1] == states[1][:-1]


def test_a_preset_without_test_sets_is_refused(tmp_path):
    with pytest.raises(MaskDCPTError, match="no test sets"):
        from_preset(replace_test(load_data("tiny")), tmp_path)


def replace_test(data):
    return data.model_copy(update={"test": ()})
