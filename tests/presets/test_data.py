"""The data presets against the paper, and errors of wrong presets."""

import subprocess
import sys

import pytest

from maskdcpt_cli.degradations import SETTINGS, Range
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.presets import load as presets
from maskdcpt_cli.presets.data import (
    Folders,
    TextList,
    Unpaired,
)
from maskdcpt_cli.presets.load import load_data
from maskdcpt_cli.synthesis.table import SYNTHESIS, check

# Pairs and repeats of METHOD section 4, in the order of the labels: the table of UIR-2.5M.
FIVE = {"H": (72_135, 1), "RS": (200, 300), "GN": (5_144, 15), "MB": (2_103, 5), "LL": (485, 60)}
OF_12D = {
    "GN": (531_816, 4),
    "RN": (30_608, 4),
    "MB": (217_702 + 8_878, 1),
    "DB": (18_261, 20),
    "GB": (531_816, 1),
    "J": (88_636, 4),
    "H": (72_030, 5),
    "RS": (28_422 + 11_150, 8),
    "RD": (1_861 + 150, 180),
    "S": (73_005, 5),
    "MS": (88_636, 4),
    "LL": (1_385 + 6_289, 30),
    "MR": (63_180, 6),
}
MIXED = {
    "MB+J": (8_878 + 12_636, 1),
    "MB+RS": (14_490, 1),
    "MB+LL+GN": (20_400, 1),
    "LL+H+RS+S": (8_281, 1),
    "DS+GN+GB+J": (643_328, 1),
}
TRAIN = {
    "5d": FIVE,
    "9d": {word: OF_12D[word] for word in SETTINGS["9d"]},
    "12d": OF_12D,
    "mixed": MIXED,
    "derain": {"RS": (13_712, 1)},
    "motion-deblur": {"MB": (2_103, 1)},
    "tiny": dict.fromkeys(SETTINGS["12d+clean"], (None, 1)),
}
# of no setting of the paper
OWN = {"asked", "embedded", "embedded-labelled", "embedded-several", "embedded-strong"}
TESTS_ALONE = {"denoise", "real-world"}  # presets without anything to train on
CLEAN = ("CBSD68", "Kodak24", "McMaster", "Urban100")
TEST = {  # degradation, level where there is one, test set
    "5d": {
        ("H", None, "SOTS"),
        ("RS", None, "Rain100L"),
        ("GN", 25, "CBSD68"),
        ("MB", None, "GoPro"),
        ("LL", None, "LOL-v1"),
    },
    "derain": {
        ("RS", None, name) for name in ("Rain100L", "Rain100H", "Test100", "Test1200", "Test2800")
    },
    "motion-deblur": {("MB", None, name) for name in ("GoPro", "HIDE", "RealBlur-J", "RealBlur-R")},
    "12d": {("GN", level, name) for level in (50, 25, 15) for name in CLEAN}
    | {("J", 50, name) for name in CLEAN},
}


def test_there_is_a_preset_for_each_setting():
    assert set(presets.names()) == set(TRAIN) | TESTS_ALONE | OWN


@pytest.mark.parametrize("name", TRAIN)
def test_pairs_and_repeats_are_the_papers(name):
    data = load_data(name)
    assert {part.degradation: (part.pairs, part.repeat) for part in data.train} == TRAIN[name]
    assert {part.degradation for part in data.train} == set(SETTINGS[data.setting])


def test_single_and_mixed_types_come_to_the_total_of_the_paper():
    single = sum(pairs for pairs, _ in OF_12D.values()) + 1_000 + 150  # RSD is in no 12D
    mixed = sum(pairs for pairs, _ in MIXED.values())
    assert (single, mixed) == (1_774_975, 708_013)


def test_images_are_degraded_as_often_as_the_paper_counts_them():
    variants = {part.degradation: part.variants for part in load_data("12d").train}
    assert {word: count for word, count in variants.items() if count > 1} == {"GN": 6, "GB": 6}


@pytest.mark.parametrize("name", sorted(OWN))
def test_what_the_embedded_model_learns_from_has_every_type_and_clean_photos(name):
    data = load_data(name)
    for parts in filter(None, (data.train, data.test)):
        assert {part.degradation for part in parts} == set(SETTINGS["12d+clean"])
    assert data.train
    assert bool(data.test) == (name in {"asked", "embedded"})


@pytest.mark.parametrize(("name", "without"), [("asked", ()), ("embedded-several", ("unveiled",))])
def test_the_recipes_of_networks_for_real_photos_have_the_variants_that_must_be_named(
    name, without
):
    rows = [(part.degradation, part.synthesis.variant) for part in load_data(name).train]
    for label in SETTINGS["12d"]:
        spec = SYNTHESIS[label]
        for variant in spec.variants:
            if spec.sampled and variant not in (*spec.sampled, *without):
                assert (label, variant) in rows
    assert len(set(rows)) > 20


@pytest.mark.parametrize("name", sorted(OWN))
def test_haze_and_darkness_keep_the_tones_of_the_photo(name):
    for part in load_data(name).train:
        if part.degradation in ("H", "LL"):
            assert part.synthesis.p_tone == part.synthesis.p_invert == 0


def test_what_can_be_asked_is_measured_as_the_embedded_model_is():
    assert load_data("asked").test == load_data("embedded").test


@pytest.mark.parametrize("name", sorted(TESTS_ALONE))
def test_test_sets_of_one_table_have_nothing_to_train_on(name):
    assert not load_data(name).train
    assert load_data(name).test


@pytest.mark.parametrize("name", TEST)
def test_test_sets_are_those_of_the_released_options(name):
    sets = {
        (part.degradation, *(part.synthesis.levels or (None,)), source.name)
        for part in load_data(name).test
        for source in part.sources
    }
    assert sets >= TEST[name]
    assert name == "12d" or sets == TEST[name]


def test_the_largest_settings_have_all_released_test_sets():
    counts = {
        name: sum(len(part.sources) for part in load_data(name).test) for name in ("12d", "mixed")
    }
    assert counts == {"12d": 52, "mixed": 13}


@pytest.mark.parametrize("name", presets.names())
def test_variants_and_levels_exist(name):
    for part in (*load_data(name).train, *load_data(name).test):
        if part.degradation:
            check(
                part.degradation, variant=part.synthesis.variant, levels=part.synthesis.levels or ()
            )


@pytest.mark.parametrize("name", presets.names())
def test_clean_test_sets_are_degraded_with_seed_0(name):
    for part in load_data(name).test:
        clean = any(isinstance(source, Folders) and not source.lq for source in part.sources)
        stated = part.synthesis.model_dump(exclude_unset=True).get("seed")
        assert stated == (0 if clean and part.degradation != "MS" else None)


@pytest.mark.parametrize("name", presets.names())
def test_sources_of_one_part_have_names_of_their_own(name):
    for part in (*load_data(name).train, *load_data(name).test):
        titles = [source.name for source in part.sources]
        assert len(set(titles)) == len(titles)


def test_a_preset_is_found_in_a_wheel_too(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "own.yaml").write_text("setting: 5d", encoding="utf-8")
    monkeypatch.setattr(presets, "PACKAGED", tmp_path)
    assert presets.names() == ["own"]
    assert load_data("own").setting == "5d"


def test_overrides_replace_values_at_their_key_path():
    data = load_data(
        "5d", overrides=["train.1.repeat=7", "train.2.synthesis.levels={from: 5, to: 9}"]
    )
    assert [part.repeat for part in data.train] == [1, 7, 15, 5, 60]
    assert data.train[2].synthesis.levels == Range(5, 9)
    assert data.train[2].synthesis.variant == "gaussian"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("train.9.repeat=1", "there is no '9'; valid are 0 to 4"),
        ("train.one.repeat=1", "there is no 'one'"),
        ("repeat", "is not an override; write KEY=VALUE"),
        ("train.0.repeet=1", r"train\[0\]\.repeet: unknown key"),
        ("train.0.synthesis.seed=1", r"train\[0\]\.synthesis\.seed: unknown key; choose from"),
    ],
)
def test_an_override_that_cannot_be_is_reported(override, sentence):
    with pytest.raises(MaskDCPTError, match=sentence):
        load_data("5d", overrides=[override])


def test_presets_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load_data("5d").setting = "9d"


def test_layouts_are_known_by_their_keys():
    part = load_data("mixed").train[0]
    assert [type(source) for source in part.sources] == [Folders, TextList]
    assert {type(source) for source in load_data("real-world").test[-1].sources} == {Unpaired}


def test_presets_are_light():
    code = (
        "import sys; from maskdcpt_cli.presets.load import load_data; load_data('12d'); "
        "print({'torch', 'numpy', 'cv2'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "set()\n"
