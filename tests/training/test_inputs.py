"""The images to train on, and those that are held out for validation."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from maskdcpt_cli.data.pairs import FilePairs, Names, scenes_of
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.degradations import SETTINGS
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.presets.data import SOURCES, Data, Requests, TrainSynthesis
from maskdcpt_cli.presets.load import load_data
from maskdcpt_cli.training.inputs import (
    TrainingData,
    from_pairs,
    from_photos,
    from_preset,
    samples_of,
)
from tests.training.runs import SIZES, finetuning, pretraining


def write(folder: Path, count: int, *, offset: int = 0) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        colour = np.full((8, 8, 3), number + offset, np.uint8)
        Image.fromarray(colour).save(folder / f"{number:02}.png")
    return folder


def colours(one: ImageSet) -> list[int]:
    return [int(one.pairs.read(index).gt[0, 0, 0]) for index in range(len(one))]


def test_every_tenth_photo_is_held_out_for_validation(tmp_path):
    inputs = from_photos(write(tmp_path / "photos", 23), load_data("5d"), setting="5d")
    assert inputs.labels == SETTINGS["5d"]
    for train, held_out, label in zip(inputs.train, inputs.validation, inputs.labels, strict=True):
        assert colours(held_out) == [9, 19]
        assert colours(train) == [n for n in range(23) if n not in (9, 19)]
        assert train.pairs.degradations() == held_out.pairs.degradations() == {label}


def test_photos_are_degraded_as_the_data_preset_degrades_clean_ones(tmp_path):
    inputs = from_photos(write(tmp_path / "photos", 1), load_data("5d"), setting="5d")
    recipes = dict(zip(inputs.labels, (one.synthesis for one in inputs.train), strict=True))
    assert recipes["GN"] == TrainSynthesis(variant="gaussian", levels=(15.0, 25.0, 50.0))
    assert recipes["H"] == TrainSynthesis()


def test_photos_are_degraded_in_all_the_ways_that_the_data_preset_has_for_a_type(tmp_path):
    data = load_data("embedded")
    inputs = from_photos(write(tmp_path / "photos", 1), data, setting=data.setting)
    ways = [one.synthesis.variant for one in inputs.train if one.pairs.degradations() == {"GN"}]
    assert ways == ["gaussian", "poisson", "salt-and-pepper"]


@pytest.mark.parametrize(
    "word", ["p_tone", "p_upscale", "p_zoom", "p_sharpen", "p_invert", "p_grey", "p_jpeg"]
)
def test_a_part_has_probabilities_of_its_own(tmp_path, word):
    write(tmp_path / "photos", 10)
    data = load_data("tiny", overrides=[f"train.0.synthesis.{word}=0.3"])
    changed, *others = from_preset(data, tmp_path).train
    assert getattr(changed.synthesis, word) == 0.3
    assert {getattr(one.synthesis, word) for one in others} == {0}


def test_few_photos_are_all_trained_on(tmp_path):
    inputs = from_photos(write(tmp_path / "photos", 9), load_data("derain"), setting="derain")
    assert inputs.validation == ()
    assert len(inputs.train[0].pairs) == 9


def test_own_pairs_keep_their_degradations(tmp_path):
    folders = [
        (write(tmp_path / kind / "lq", 10, offset=100), write(tmp_path / kind / "gt", 10))
        for kind in ("rain", "haze")
    ]
    inputs = from_pairs(folders, ["RS", "H"], setting="5d")
    assert [one.pairs.degradations() for one in inputs.train] == [{"RS"}, {"H"}]
    pair = inputs.validation[1].pairs.read(0)
    assert pair.lq is not None
    assert (pair.degradation, pair.gt[0, 0, 0], pair.lq[0, 0, 0]) == ("H", 9, 109)


def test_an_image_without_a_partner_is_refused(tmp_path):
    lq, gt = write(tmp_path / "lq", 3), write(tmp_path / "gt", 2)
    with pytest.raises(MaskDCPTError, match=r"02.png.* has no partner"):
        from_pairs([(lq, gt)], ["H"], setting="5d")


def test_the_test_sets_of_a_preset_are_what_is_validated_on(tmp_path):
    write(tmp_path / "train", 10)
    write(tmp_path / "test", 2)
    preset = {
        "setting": "derain",
        "train": [
            {"degradation": "RS", "repeat": 3, "sources": [{"name": "a", "gt": "train/{n}"}]}
        ],
        "test": [{"degradation": "RS", "sources": [{"name": "b", "gt": "test/{n}"}]}],
    }
    inputs = from_preset(Data.model_validate(preset), tmp_path)
    assert [(len(one.pairs), one.repeat) for one in inputs.train] == [(10, 3)]
    assert [(len(one.pairs), one.repeat) for one in inputs.validation] == [(2, 1)]
    untested = Data.model_validate({**preset, "test": []})
    inputs = from_preset(untested, tmp_path)
    assert [(len(one.pairs), one.repeat) for one in inputs.train] == [(9, 3)]
    assert [(len(one.pairs), one.repeat) for one in inputs.validation] == [(1, 1)]


def test_test_sets_that_no_label_fits_are_left_to_benchmarks(tmp_path):
    write(tmp_path / "a", 3)
    write(tmp_path / "b", 2)
    source = {"name": "a", "gt": "a/{name}"}
    data = Data(
        setting="5d",
        train=[{"degradation": "GN", "sources": [source]}],
        test=[
            {"degradation": "GN", "sources": [source]},
            {"sources": [{"name": "under a display", "lq": "b/{name}", "gt": "a/{name}"}]},
            {"degradation": "LL", "sources": [{"name": "without gt", "lq": "b/{name}"}]},
        ],
    )
    (validation,) = from_preset(data, tmp_path).validation
    assert validation.pairs.degradations() == {"GN"}


def test_test_sets_of_a_plugin_without_a_label_are_left_to_benchmarks(tmp_path, monkeypatch):
    def pairs(root: Path, degradation: str | None) -> FilePairs:
        return FilePairs(root, Names(["a/00.png"]), Names(["a/00.png"]), degradation or "")

    monkeypatch.setitem(SOURCES.own, "own", pairs)
    write(tmp_path / "a", 10)
    own = {"name": "own", "source": "own"}
    train = [{"degradation": "GN", "sources": [{"name": "a", "gt": "a/{name}"}]}]
    data = Data(setting="5d", train=train, test=[{"degradation": "LL", "sources": [own]}])
    (validation,) = from_preset(data, tmp_path).validation
    assert validation.pairs.degradations() == {"LL"}
    unlabelled = Data(setting="5d", train=train, test=[{"sources": [own]}])
    (held_out,) = from_preset(unlabelled, tmp_path).validation
    assert held_out.pairs.degradations() == {"GN"}


@pytest.mark.parametrize(
    ("preset", "taken"),
    [
        (pretraining(), False),
        (finetuning(), False),
        (finetuning(sizes={"nafnet": {**SIZES["nafnet"], "architecture": "instruct"}}), True),
    ],
    ids=["pre-training", "a plain network", "a network that takes requests"],
)
def test_requests_are_for_fine_tuning_networks_that_take_them(tmp_path, preset, taken):
    write(tmp_path / "photos", 4)
    requests = Requests(p_several=0)
    inputs = from_photos(tmp_path / "photos", Data(setting="5d"), setting="5d")
    curriculum = samples_of(preset, TrainingData(), inputs._replace(requests=requests))
    assert {mixture.asking is not None for mixture in curriculum.mixtures} == {taken}


def test_a_setting_changes_the_labels_and_not_what_is_asked(tmp_path):
    write(tmp_path / "photos", 4)
    data = TrainingData(photos=tmp_path / "photos", setting="12d")  # a data preset of that name
    inputs = data.open("asked")
    assert inputs.labels == SETTINGS["12d"]
    assert inputs.requests == load_data("asked").requests


def test_what_is_held_out_is_left_out_of_stages_with_data_of_their_own(tmp_path):
    write(tmp_path / "photos", 40)
    (tmp_path / "photos/00.png").unlink()  # so that of all and of some not the same are the tenth
    for name, photos in (("all", "{name}"), ("some", "1{n}")):
        source = {"name": "a", "gt": f"photos/{photos}"}
        data = {"setting": "5d", "train": [{"degradation": "GN", "sources": [source]}]}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(data))
    stages = [{"iterations": 1, "data": str(tmp_path / "some.yaml")}, {"iterations": 1}]
    run = finetuning(training={"stages": [{"crop_size": 32, "batch": 1, **one} for one in stages]})
    data = TrainingData(root=tmp_path)
    inputs = data.open(str(tmp_path / "all.yaml"))
    curriculum = samples_of(run, data, inputs)
    held_out = set(scenes_of(inputs.validation[0].pairs))
    assert len(held_out) == 3
    for mixture in curriculum.mixtures:
        trained = {scene for one in mixture.sets for scene in scenes_of(one.pairs)}
        assert trained
        assert not trained & held_out


def test_pairs_of_a_scene_are_on_one_side_in_all_sets(tmp_path):
    photos = [f"{number:02}" for number in range(25)]
    for word in ("haze", "rain"):
        write(tmp_path / word / "gt", 25)
        (tmp_path / word / "lq").mkdir()
        for photo, level in ((photo, level) for photo in photos for level in "123"):
            source = tmp_path / word / f"gt/{photo}.png"
            (tmp_path / word / f"lq/{photo}_{level}.png").write_bytes(source.read_bytes())
    shared = {"gt": "haze/gt/{scene}"}
    parts = [
        {"degradation": "H", "sources": [{"name": "a", "lq": "haze/lq/{scene}_{level}", **shared}]},
        {"degradation": "GN", "sources": [{"name": "b", **shared}]},
        {"degradation": "RS", "sources": [{"name": "c", "gt": "{kind}/gt/{scene}"}]},
    ]
    inputs = from_preset(Data.model_validate({"setting": "5d", "train": parts}), tmp_path)
    assert [colours(one) for one in inputs.validation] == [
        [9, 9, 9, 19, 19, 19],
        [9, 19],
        [9, 19, 4, 14, 24],
    ]
    for train, held_out in zip(inputs.train, inputs.validation, strict=True):
        both = [
            f"{pairs.read(n).name}"
            for pairs in (train.pairs, held_out.pairs)
            for n in range(len(pairs))
        ]
        assert len(set(both)) == len(both) == len(train) + len(held_out)
    assert [len(one) for one in inputs.train] == [69, 23, 45]


def test_a_set_whose_scenes_are_all_held_out_is_not_trained_on(tmp_path):
    write(tmp_path / "photos", 20)
    (tmp_path / "list.txt").write_text("photos/09.png\nphotos/19.png\n")
    parts = [
        {"degradation": "H", "sources": [{"name": "a", "gt": "photos/{name}"}]},
        {"degradation": "GN", "sources": [{"name": "b", "list": "list.txt"}]},
    ]
    inputs = from_preset(Data.model_validate({"setting": "5d", "train": parts}), tmp_path)
    assert [one.name for one in inputs.train] == ["a"]
    assert [len(one) for one in inputs.validation] == [2, 2]


def test_a_test_set_that_cannot_be_read_is_missing_and_not_left_out(tmp_path):
    write(tmp_path / "photos", 3)
    (tmp_path / "bad.txt").write_text("one two three four\n")
    (tmp_path / "data.yaml").write_text(
        "setting: 5d\n"
        "train: [{degradation: GN, sources: [{name: t, gt: 'photos/{n}'}]}]\n"
        "test: [{degradation: GN, sources: [{name: v, list: bad.txt}]}]\n"
    )
    with pytest.raises(MaskDCPTError, match="Images are missing"):
        from_preset(load_data(str(tmp_path / "data.yaml")), tmp_path)
