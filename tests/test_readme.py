"""What the README and the pages in docs/ show works."""

import importlib
import re
import shutil
from pathlib import Path

import click
import pytest

import maskdcpt_cli
from maskdcpt_cli.cli import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
}
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
BLOCKS = {page: FENCED.findall(text) for page, text in PAGES.items()}
WITH_PYTHON = [page for page in PAGES if "python" in dict(BLOCKS[page])]


def test_the_pages_are_found():
    assert len(PAGES) >= 10
    assert {"README.md", "docs/restoring.md", "docs/scoring.md"} <= set(WITH_PYTHON)


@pytest.mark.parametrize("page", PAGES)
def test_no_block_escapes_the_tests_below(page):
    assert PAGES[page].count("```") == 2 * len(BLOCKS[page])
    assert {language for language, _ in BLOCKS[page]} <= {"", "python", "yaml"}


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_shown_exists(page):
    shell = [block for language, block in BLOCKS[page] if not language]
    shown = [line for block in shell for line in block.splitlines() if "maskdcpt" in line]
    command_line = r"maskdcpt(?:_cli)? (?:--plugin \w+ )?([a-z].*)"
    commands = [match for line in shown for match in re.findall(command_line, line)]
    if page == "README.md":
        assert len(commands) >= 8
    for text in commands:
        typed, *comment = re.split(" {2,}", text)
        assert all(words.startswith("# ") for words in comment), text  # the line can be pasted
        words = typed.split()
        command: click.Command | None = main
        while isinstance(command, click.Group) and words:
            command = command.get_command(click.Context(command), words.pop(0))
        assert command is not None, text
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-") and word != "-"} <= known, text


@pytest.mark.parametrize("page", [*PAGES, "recipes/tiny/README.md"])
def test_every_script_and_option_shown_exists(page):
    text = (ROOT / page).read_text()
    shown = re.findall(r"python -m ((?:benchmarks|recipes)\.[\w.]+)([^\n`]*)", text)
    for name, words in shown:
        module = importlib.import_module(name)
        if hasattr(module, "__path__") and not hasattr(module, "main"):
            module = importlib.import_module(f"{name}.__main__")
        script = module.main
        known = {option for parameter in script.params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--?\w[\w-]*", words)) <= known, name


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_python_examples_run(page, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    for language, block in BLOCKS[page]:
        if language == "python":
            exec(compile(block, page, "exec"), {})
    if page == "README.md" or "restore_folder(" in PAGES[page]:
        restored = {path.name for path in (tmp_path / "out").iterdir()}
        assert restored >= {path.name for path in (ROOT / "examples").glob("*.[jp][pn]g")}


def test_ci_types_the_test_command_of_the_readme():
    (command,) = re.findall(r"^pip install .*pytest.*$", README, re.MULTILINE)
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 200


@pytest.mark.parametrize("page", PAGES)
def test_links_and_images_point_to_what_is_there(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", PAGES[page])):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.is_file(), target
        if page != "README.md":
            assert file.resolve().is_relative_to(DOCS), f"{target} is not part of the site"
        if anchor:
            assert anchor in _anchors(FENCED.sub("", file.read_text())), target


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in headings}


def test_the_readme_leads_to_every_page():
    assert {page for page in PAGES if f"({page})" in README} >= set(PAGES) - {"README.md"}


def test_the_api_page_shows_every_public_name():
    shown = re.findall(r"^::: maskdcpt_cli\.(\w+)$", PAGES["docs/api.md"], re.MULTILINE)
    assert sorted(shown) == sorted(set(maskdcpt_cli.__all__) - {"__version__"})
