"""Options that several commands share."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image

from maskdcpt_cli.cli import main

COMPARE = ("compare", "in", "--input", "in")
CLASSIFY = ("classify", "in")
SCORE = ("score", "in", "in")
STUDY = ("study", "knn", "--backbone", "nafnet", "--photos", "in")


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Image.new("RGB", (32, 32)).save("in/a.png")
    Path("mine.png").write_text("mine", encoding="utf-8")


@pytest.mark.parametrize(
    ("command", "option"),
    [(COMPARE, "-o"), (CLASSIFY, "--csv"), (SCORE, "--csv"), (SCORE, "--html"), (STUDY, "--csv"),
     (STUDY, "-o")],
)  # fmt: skip
def test_an_existing_file_is_refused_in_the_same_words_by_every_command(command, option):
    result = CliRunner().invoke(main, [*command, option, "mine.png"])
    assert result.exit_code == 2
    sentence = "Error: 'mine.png' exists: name another file, or type --overwrite.\n"
    assert result.stderr.endswith(sentence)
    assert Path("mine.png").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    "command",
    [("benchmark",), ("data", "check"), ("data", "pack", "-o", "out")],
)
@pytest.mark.parametrize("option", ["--data-preset", "--preset"])
def test_a_data_preset_has_an_option_of_its_own_and_the_former_name_works(command, option):
    result = CliRunner().invoke(main, [*command, option, "5dd", "--data-root", "."])
    assert result.exit_code == 2
    assert "Unknown data preset '5dd'. Did you mean '5d'?" in result.stderr


@pytest.mark.parametrize("name", ["--jobs", "--csv", "--quiet", "--json", "--overwrite"])
def test_a_shared_option_has_the_same_type_in_every_command(name):
    found = [
        (type(parameter.type), parameter.metavar, parameter.is_flag)
        for command in commands(main)
        for parameter in command.params
        if isinstance(parameter, click.Option) and name in parameter.opts
    ]
    assert len(found) > 2
    assert len(set(found)) == 1


def commands(command: click.Command) -> list[click.Command]:
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return [command, *(each for one in below for each in commands(one))]


@pytest.mark.parametrize(("command", "output"), [("restore", ["-o", "out"]), ("classify", [])])
def test_a_pattern_that_is_none_is_refused_with_a_valid_one(command, output):
    result = CliRunner().invoke(main, [command, "in/**.png", *output])
    assert result.exit_code == 2
    assert "'in/**.png': ** stands for folders, as in '**/*.png'." in result.stderr
