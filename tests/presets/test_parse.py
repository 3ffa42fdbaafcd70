"""YAML that is no preset is refused in one sentence, at once."""

import os
from pathlib import Path

import pytest

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.presets.load import load, load_data
from maskdcpt_cli.presets.parse import MAX_ALIASES, MAX_BYTES, parse_yaml, read_yaml
from maskdcpt_cli.presets.training import SCHEMAS, Pretrain, Run


def growing(first: str, rest: str) -> str:
    """Return YAML whose content is nine times as large with each line."""
    lines = (rest % (i, ", ".join([f"*a{i - 1}"] * 9)) for i in range(1, 12))
    return "\n".join([f"a0: &a0 {first}", *(f"a{i}: &{line}" for i, line in enumerate(lines, 1))])


REFUSED = {
    "an open list": ("[1", "expected ',' or ']'"),
    "an open mapping": ("{", "expected the node content"),
    "an open text": ('"', "unexpected end of stream"),
    "no anchor": ("*a", "undefined alias 'a'"),
    "three values": ("2: 3: 4", "mapping values are not allowed here"),
    "a tag that runs code": ("!!python/object:os.system", "os.system' has no use in a preset"),
    "a tag": ("!!int ''", "has no use in a preset"),
    "no date": ("2001-99-99", "a date or a number that does not exist"),
    "no number": ("0x_", "a date or a number that does not exist"),
    "an infinite number": ("1:" * 300 + "1.5", "a date or a number that does not exist"),
    "400 digits": ("1" * 400, "an integer has 400 digits; at most 20 are valid"),
    "6000 digits": ("1" * 6000, "an integer has 6000 digits"),
    "deep": ("[" * 100_000, "more than 20 levels"),
    "deep lines": ("- " * 5000, "more than 20 levels"),
    "a list in itself": ("&a [*a]", "the alias *a is within what another anchor names"),
    "a mapping in itself": ("&a {<<: *a}", "the alias *a is within what another anchor names"),
    "growing lists": (growing("[x, x]", "a%d [%s]"), "is within what another anchor names"),
    "growing mappings": (growing("{x: 1}", "a%d {<<: [%s]}"), "is within what another anchor"),
    "many aliases": ("[&a x" + ", *a" * (MAX_ALIASES + 1) + "]", "more than 100 aliases"),
    "a list as a key": ("{[1]: 2}", "unhashable key"),
    "control characters": ("\x01", "special characters are not allowed"),
}


def loaded(*overrides: str) -> Run:
    return load("5d", SCHEMAS["pretrain"], kind="pretrain", overrides=overrides)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_plain_yaml_is_refused_in_a_file_and_in_an_override(kind, tmp_path):
    text, reason = REFUSED[kind]
    path = tmp_path / "my.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MaskDCPTError) as in_file:
        load_data(str(path))
    with pytest.raises(MaskDCPTError) as in_override:
        loaded(f"training.seed={text}")
    for error in (in_file, in_override):
        assert reason in str(error.value)
        assert "\n" not in str(error.value).replace(text, "")
    assert "the value of training.seed is not YAML" in str(in_override.value)


def test_aliases_and_merged_keys_are_read():
    text = "a: &a {b: 1}\nc: {<<: *a, d: 2}\ne: [*a, *a]"
    assert parse_yaml(text)["c"] == {"b": 1, "d": 2}


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_bytes(b"\xff")
    with pytest.raises(MaskDCPTError, match="not YAML: position 0"):
        read_yaml(path)


def test_a_large_file_is_refused_unread(tmp_path):
    path = tmp_path / "my.yaml"
    with path.open("wb") as file:
        file.truncate(10**11)
    with pytest.raises(MaskDCPTError, match=f"more than {MAX_BYTES} bytes"):
        read_yaml(path)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_a_path_that_is_no_file_is_refused_at_once(kind, tmp_path):
    path = tmp_path / "my.yaml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(MaskDCPTError, match=r"cannot be read: (Not a regular file|Is a directory)"):
        read_yaml(Path("/dev/zero") if kind == "device" else path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.foo=1", "'data.foo=1': data is '5d', so there is no 'foo' in it."),
        (
            "optimiser.rate.initial.x=5",
            "'optimiser.rate.initial.x=5': optimizer.lr.initial is '0.0003', so there is no 'x'",
        ),
        ("training.stages.1.batch=5", "there is no '1'; valid are 0 to 0"),
        ("training.stages.-1.batch=5", "there is no '-1'; valid are 0 to 0"),
        ("training.stages." + "9" * 5000 + "=5", "valid are 0 to 0"),
        ("training.stages.0.bach=5", "training.stages[0].bach: unknown key; did you mean 'batch'?"),
        ("training..seed=5", "is not an override"),
        ("=5", "is not an override"),
        ("a." * 3000 + "a=5", "is not an override"),
    ],
)
def test_an_override_of_what_is_not_there_is_refused_with_its_key_path(override, message):
    with pytest.raises(MaskDCPTError) as error:
        loaded(override)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.betas=[1, 1]", "optimizer.betas[0]: input should be less than 1"),
        ("optimizer.lr.initial=.inf", "optimizer.lr.initial: input should be a finite number"),
        ("heads.focal_gamma=.inf", "heads.focal_gamma: input should be a finite number"),
        (
            "heads.classifier_dims=[1, 1, 1, 100000000]",
            "classifier_dims[3]: 100000000 is more than 8192",
        ),
        ("mask.ratio=0.9999", "hides the whole crop of 256 pixels, of 256 patches"),
        ("mask.patch_size=256", "hides the whole crop of 256 pixels, of 1 patches"),
        ("validation.crop_size=1", "validation.crop_size: input should be greater than or equal"),
        ("validation.crop_size=100000", "validation.crop_size: 100000 is more than 4096: a crop"),
        ("training.stages.0.crop_size=100000", "training.stages[0].crop_size: 100000 is more than"),
        ("training.stages.0.batch=100000000", "training.stages[0].batch: 100000000 is more than"),
        ("training.stages.0.iterations=10000000000", "stages[0].iterations: 10000000000 is more"),
        ("training.iterations=10000000000", "valid are whole numbers from 1 to 1000000000"),
        ("training.workers=2000", "training.workers: 2000 is more than 256: each is a process"),
        ("training.seed=18446744073709551616", "training.seed: input should be less than 184467"),
        ("training.seed=-1", "training.seed: input should be greater than or equal to 0"),
    ],
)
def test_a_value_that_cannot_be_trained_with_is_refused_with_its_reason(override, message):
    with pytest.raises(MaskDCPTError) as error:
        loaded(override)
    assert message in str(error.value)


def test_seeds_of_64_bits_are_valid():
    assert loaded(f"training.seed={2**64 - 1}").training.seed == 2**64 - 1
    assert isinstance(loaded("mask.ratio=0.99"), Pretrain)
