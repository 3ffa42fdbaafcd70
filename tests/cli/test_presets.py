"""`maskdcpt presets`."""

import pytest
import yaml
from click.testing import CliRunner, Result

from maskdcpt_cli.cli import main
from maskdcpt_cli.presets.load import names
from maskdcpt_cli.presets.training import SCHEMAS


def presets(*args: str) -> Result:
    return CliRunner().invoke(main, ["presets", *args])


def test_all_presets_are_listed():
    lines = presets().stdout.splitlines()
    rows = [tuple(line.split()[:2]) for line in lines[1:]]
    assert rows == [(kind, name) for kind in SCHEMAS for name in names(kind)]
    assert any("300,000" in line and "Deraining alone (Table V)" in line for line in lines)


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


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("5dd",), "Unknown pretrain preset '5dd'. Did you mean '5d'?"),
        (("tune", "5d"), "'tune' is neither pretrain nor finetune."),
        (("pretrain", "mixed"), "Unknown pretrain preset 'mixed'"),
        (("5d", "--set", "data"), "'data' is not an override"),
    ],
)
def test_what_is_not_there_is_refused(words, told):
    result = presets("show", *words)
    assert result.exit_code
    assert told in result.stderr
