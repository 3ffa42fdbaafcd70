"""`maskdcpt presets`."""

import pytest
import yaml
from click.testing import CliRunner, Result

from maskdcpt_cli.cli import main
from maskdcpt_cli.models.options import ARCHITECTURES
from maskdcpt_cli.presets.load import locate, names
from maskdcpt_cli.presets.training import SCHEMAS


def presets(*args: str) -> Result:
    return CliRunner().invoke(main, ["presets", *args])


def test_all_presets_are_listed():
    lines = presets().stdout.splitlines()
    rows = [tuple(line.split()[:2]) for line in lines[1:]]
    assert rows == [(kind, name) for kind in (*SCHEMAS, "data") for name in names(kind)]
    assert any("300,000" in line and "Deraining alone (Table V)" in line for line in lines)


def test_summaries_are_whole_sentences():
    lines = [line.rstrip() for line in presets().stdout.splitlines()[1:]]
    assert all(line.endswith(".") for line in lines)
    (line,) = [line for line in lines if line.split()[:2] == ["pretrain", "12d"]]
    assert line.endswith("MaskDCPT on twelve degradations (Sec. V-A).")


@pytest.mark.parametrize("name", names("data"))
def test_a_data_preset_is_shown_as_it_is(name):
    result = presets("show", "data", name)
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(result.stdout) == yaml.safe_load(locate(name, "data").read_bytes())


@pytest.mark.parametrize(
    ("words", "kinds"),
    [(("5d",), 2), (("pretrain", "5d"), 1), (("finetune", "derain"), 1), (("dcpt",), 1)],
)
def test_a_preset_is_shown_as_yaml(words, kinds):
    result = presets("show", *words)
    assert result.exit_code == 0, result.output
    shown = list(yaml.safe_load_all(result.stdout))
    assert len(shown) == kinds
    assert all(one["training"]["stages"] for one in shown)


def test_what_is_shown_is_what_the_command_would_take(tmp_path):
    result = presets("show", "pretrain", "tiny", "--backbone", "swinir", "--set", "mask.ratio=0.75")
    path = tmp_path / "mine.yaml"
    path.write_text(result.stdout, encoding="utf-8")
    again = yaml.safe_load(presets("show", "pretrain", str(path)).stdout)
    assert (again["backbone"], again["mask"]["ratio"]) == ("swinir", 0.75)


@pytest.mark.parametrize("name", ["5d", "9d", "12d"])
@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_cell_of_table_xi_is_a_preset(kind, name, architecture):
    form = ("--backbone", "restormer", "--architecture", architecture)
    result = presets("show", kind, name, *form)
    assert result.exit_code == 0, result.output
    shown = yaml.safe_load(result.stdout)
    assert shown["data"] == name
    assert shown["sizes"] == {"restormer": {"architecture": architecture}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("5dd",), "Unknown pretrain preset '5dd'. Did you mean '5d'?"),
        (("tune", "5d"), "'tune' is none of pretrain, finetune, data."),
        (("pretrain", "mixed"), "Unknown pretrain preset 'mixed'"),
        (("5d", "--set", "data"), "'data' is not an override"),
        (("data", "5dd"), "Unknown data preset '5dd'. Did you mean '5d'?"),
        (("data", "5d", "--set", "setting=9d"), "--set are for training presets only."),
    ],
)
def test_what_is_not_there_is_refused(words, message):
    result = presets("show", *words)
    assert result.exit_code
    assert message in result.stderr


@pytest.mark.parametrize(("kind", "name"), [("finetune", "derain"), ("data", "5d")])
def test_a_preset_saved_as_utf_16_is_shown_as_it_was(kind, name, tmp_path):
    """PowerShell saves so what is printed."""
    printed = presets("show", kind, name).stdout
    path = tmp_path / "my.yaml"
    path.write_text(printed, encoding="utf-16")
    result = presets("show", kind, str(path))
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(result.stdout) == yaml.safe_load(printed)
