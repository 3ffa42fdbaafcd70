"""What the README shows works."""

import re
import shutil
from pathlib import Path

import click

from maskdcpt_cli.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)


def test_every_command_and_option_shown_exists():
    shell = [block for language, block in BLOCKS if not language]
    shown = [line for block in shell for line in block.splitlines() if "maskdcpt" in line]
    commands = [
        match for line in shown for match in re.findall(r"maskdcpt(?:_cli)? ([a-z].*)", line)
    ]
    assert len(commands) >= 8
    for text in commands:
        words = re.split(" {2,}", text)[0].split()  # what follows is said of it
        command: click.Command | None = main
        while isinstance(command, click.Group) and words:
            command = command.get_command(click.Context(command), words.pop(0))
        assert command is not None, text
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-") and word != "-"} <= known, text


def test_the_python_examples_run(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    for language, block in BLOCKS:
        if language == "python":
            exec(compile(block, "README.md", "exec"), {})
    restored = {path.name for path in (tmp_path / "out").iterdir()}
    assert restored >= {path.name for path in (ROOT / "examples").glob("*.[jp][pn]g")}


def test_ci_types_the_test_command_of_the_readme():
    (command,) = re.findall(r"^pip install .*pytest.*$", README, re.MULTILINE)
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_pictures_shown_are_there():
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).is_file()
