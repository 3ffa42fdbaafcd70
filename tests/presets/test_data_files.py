"""Data presets of one's own: what a file may say, and what is refused."""

import re
from pathlib import Path

import pytest

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.presets.data import Data, SeededSynthesis, TrainSynthesis
from maskdcpt_cli.presets.load import load_data, rename_keys
from maskdcpt_cli.presets.training import load_preset


def write(text: str) -> str:
    Path("my.yaml").write_text(text, encoding="utf-8")
    return "my.yaml"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_preset_may_be_a_file():
    assert load_data(write("setting: 9d")) == Data(setting="9d")


PART = "setting: 5d\ntrain:\n- degradation: GN\n  sources: [{name: a, gt: 'a/{path}'}]\n"


def with_key(text: str) -> str:
    return f"{PART}  {text}\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("setting: 6d", "my.yaml: setting: unknown setting '6d'"),
        (
            "setting: 5d\nzzz: 1",
            "zzz: unknown key; choose from: setting, requests, train, test.",
        ),
        (PART.replace("GN", "XY"), "train[0].degradation: unknown degradation 'XY'"),
        (PART.replace("GN", "MR"), "'MR' is not among the labels of '5d': H RS GN MB LL."),
        (PART.replace("degradation: GN", "repeat: 1"), "train[0]: the degradation is missing"),
        (PART.replace("a/{", "/a/{"), "train[0].sources[0].gt: '/a/{path}' must be below"),
        (PART.replace("a/{", "a/../{"), "no absolute path, no '..'"),
        (PART.replace("a/{", "C:a/{"), "no absolute path"),
        (PART.replace("{path}'", "{path'"), "a brace is no part of a word"),
        (PART.replace("gt:", "gtt:"), "sources[0].gtt: unknown key; did you mean 'gt'?"),
        (PART.replace("'}]", "', lq: 'b/{p}'}]"), "'{path}' is in gt, but not in lq"),
        (PART.replace("'}]", "', list: a.txt}]"), "sources[0].list: unknown key"),
        (PART.replace("gt:", "lq:"), "train[0]: 'a' has no gt; only test sets can do without."),
        (PART.replace("[{", "[] #"), "train[0].sources: give at least one."),
        (with_key("repeet: 3"), "my.yaml: train[0].repeet: unknown key; did you mean 'repeat'?"),
        (with_key("repeat: 0"), "train[0].repeat: input should be greater than 0."),
        (with_key("synthesis: {levels: strong}"), "valid are a list, as [15, 25, 50], and a range"),
        (with_key("synthesis: {levels: {from: 5}}"), "valid are a list"),
        (with_key("synthesis: {p_tone: 2}"), "p_tone: input should be less than or equal to 1."),
        (with_key("synthesis: {p_jpeg: 1}").replace("train", "test"), "p_jpeg: unknown key"),
        (with_key("synthesis: {saved: 1}").replace("train", "test"), "p_jpeg: unknown key"),
        (
            with_key("synthesis: {toned: 1, p_tone: 1}"),
            "'toned' is the earlier name of 'p_tone': give one of them.",
        ),
        ("setting: [", "my.yaml is not YAML"),
        ("[]", "my.yaml: input should be a valid dictionary"),
    ],
)
def test_what_is_wrong_is_reported_with_its_key_path(text, sentence):
    with pytest.raises(MaskDCPTError) as error:
        load_data(write(text))
    assert sentence in str(error.value)
    assert not {"pydantic", "Value error"} & set(str(error.value).split())


def test_everything_wrong_is_reported_at_once():
    text = PART.replace("GN", "XY").replace("a/{", "/a/{").replace("5d", "6d")
    with pytest.raises(MaskDCPTError) as error:
        load_data(write(text))
    assert len(str(error.value).splitlines()) == 3


def test_an_unknown_name_is_reported_with_its_neighbours():
    with pytest.raises(MaskDCPTError, match="Did you mean 'tiny'"):
        load_data("tinny")
    with pytest.raises(MaskDCPTError, match=r"no-such\.yaml cannot be read"):
        load_data("no-such.yaml")


def test_numbers_that_yaml_reads_as_text_are_numbers():
    data = load_data(write(with_key("synthesis: {levels: [3e-1, 25]}")))
    assert data.train[0].synthesis.levels == (0.3, 25)


FORMER = """\
setting: 5d
train:
- degradation: GN
  synthesis: {kind: gaussian, levels: [15, 25], toned: 0.4, enlarged: 0.3, saved: 0.2}
  sources: [{name: a, gt: "a/{path}"}]
test:
- degradation: GN
  synthesis: {kind: poisson, levels: [25], seed: 3}
  sources: [{name: b, gt: "b/{path}"}]
"""


def test_a_file_with_the_former_keys_is_still_read():
    data = load_data(write(FORMER))
    assert data.train[0].synthesis == TrainSynthesis(
        variant="gaussian", levels=(15, 25), p_tone=0.4, p_upscale=0.3, p_jpeg=0.2
    )
    assert data.test[0].synthesis == SeededSynthesis(variant="poisson", levels=(25,), seed=3)
    override = "train.0.synthesis.saved=1"
    assert load_data("my.yaml", overrides=[override]).train[0].synthesis.p_jpeg == 1


def test_the_options_of_others_may_have_the_former_keys():
    options = {"kind": "rain", "rate": [{"saved": 1}]}
    assert rename_keys({"kind": "a", "options": options}) == {"variant": "a", "options": options}
    run = load_preset("pretrain", "5d", overrides=["sizes.mynet.rate=3"])
    assert run.sizes["mynet"] == {"rate": 3}


@pytest.mark.parametrize(
    ("shards", "sentence"),
    [
        ("https://host/a/index.json?key=x", ""),
        ("hf://datasets/owner/name/index.json", ""),
        ("pipe:cat index.json", "an address begins with https://, http://, s3://, gs://, hf://"),
        ("ftp://host/index.json", "'ftp://host/index.json' is not read"),
        ("https://me:secret@host/index.json", "without user name and password"),
        ("https:///index.json", "an address has a host"),
        ("https://host/shards/", "must be the address of an index.json"),
        ("/data/index.json", "must be below the data root"),
        ("C:/data/index.json", "must be below the data root"),
    ],
)
def test_shards_are_below_the_data_root_or_at_an_address(shards, sentence):
    source = {"name": "a", "shards": shards}
    given = {"setting": "5d", "train": [{"degradation": "H", "sources": [source]}]}
    if sentence:
        with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
            Data.model_validate(given)
        assert "secret" not in str(caught.value).partition("[type")[0]
        return
    assert not Data.model_validate(given).needs_root
    beside = {"name": "b", "gt": "b/{name}"}
    given["train"][0]["sources"].append(beside)
    assert Data.model_validate(given).needs_root
