"""Data presets that extend another."""

from pathlib import Path

import pytest

from maskdcpt_cli.degradations import SETTINGS
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.presets.load import load_data
from tests.presets.test_data_files import PART, write


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


EXTENDING = "setting: 5d\nextends: 12d\nonly: [GN, LL]\n"


def test_a_preset_may_extend_another_by_some_of_its_parts():
    data, base = load_data(write(EXTENDING)), load_data("12d")
    assert data.train == tuple(part for part in base.train if part.degradation in ("GN", "LL"))
    assert data.test == tuple(part for part in base.test if part.degradation in ("GN", "LL"))
    assert load_data("my.yaml", overrides=["train.1.repeat=7"]).train[1].repeat == 7


def test_nine_degradations_are_the_parts_of_twelve():
    nine, twelve = load_data("9d"), load_data("12d")
    labels = SETTINGS["9d"]
    assert nine.train == tuple(part for part in twelve.train if part.degradation in labels)
    assert nine.test == tuple(part for part in twelve.test if part.degradation in labels)


def test_keys_of_the_file_replace_those_of_the_preset_that_it_extends():
    Path("sub").mkdir()
    Path("sub/base.yaml").write_text(EXTENDING, encoding="utf-8")
    data = load_data(write("extends: sub/base.yaml\n" + PART))
    assert [source.name for part in data.train for source in part.sources] == ["a"]
    assert data.test == load_data("sub/base.yaml").test
    Path("sub/beside.yaml").write_text("extends: base.yaml", encoding="utf-8")
    assert load_data("sub/beside.yaml") == load_data("sub/base.yaml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            EXTENDING.replace("12d", "12x"),
            r"my\.yaml: extends: Unknown data preset '12x'\. Did you",
        ),
        (EXTENDING.replace("12d", "no.yaml"), r"no\.yaml cannot be read"),
        (EXTENDING.replace("12d", "[12d]"), r"my\.yaml: extends: input should be a valid string"),
        (EXTENDING.replace("LL]", "XX]"), r"my\.yaml: only\[1\]: unknown degradation 'XX'"),
        (
            EXTENDING.replace("12d", "5d").replace("LL]", "MR]"),
            r"my\.yaml: only: '5d' has no part of 'MR'; choose from: H RS GN MB LL\.",
        ),
        (EXTENDING.replace("12d", "my.yaml"), r"my\.yaml: extends: 'my\.yaml' extends this file"),
        (EXTENDING.replace("12d", "two.yaml"), r"two\.yaml: extends: 'my\.yaml' extends this file"),
        (EXTENDING.replace("extends: 12d\n", ""), r"my\.yaml: extends: field required"),
        (EXTENDING + "zzz: 1", r"my\.yaml: zzz: unknown key"),
        (EXTENDING.replace("12d", "bad.yaml"), r"bad\.yaml: input should be a valid dictionary"),
        (EXTENDING.replace("LL", "RN"), r"my\.yaml: 'RN' is not among the labels of '5d'"),
    ],
)
def test_a_preset_that_cannot_be_extended_is_refused_in_a_sentence(text, sentence):
    Path("two.yaml").write_text("extends: my.yaml", encoding="utf-8")
    Path("bad.yaml").write_text("[]", encoding="utf-8")
    with pytest.raises(MaskDCPTError, match=sentence):
        load_data(write(text))
