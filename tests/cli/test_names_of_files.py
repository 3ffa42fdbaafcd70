"""Names of files cannot write to a terminal, turn the direction of a line, or run in a sheet."""

import csv
import re
import shutil
from pathlib import Path

import pytest

from maskdcpt_cli.cli.csv_file import write_csv
from maskdcpt_cli.weights.zoo import EMBEDDED
from tests.cli.commands import COMMANDS, lay_out, run

HOSTILE = "\x1b[31m\u202egpj\u2066\u200e\u061c\n\r\x07.png"
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
FORMULAS = ("=1+1.png", "+a.png", "-a.png", "@a.png", "\ta.png", "\ra.png")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("damaged", [False, True], ids=["sound", "damaged"])
@pytest.mark.parametrize("command", COMMANDS)
def test_control_characters_in_names_are_escaped(command: str, damaged: bool) -> None:
    lay_out(Path(), HOSTILE)
    if damaged:
        Path("lq", HOSTILE).write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    result = run(*COMMANDS[command])
    assert result.exit_code in ((0, 1) if damaged else (0,)), result.output
    texts = [result.stdout, result.stderr]
    written = [path for path in Path().rglob("*") if path.suffix in {".html", ".md", ".json"}]
    written += Path().rglob("*.jsonl")
    texts += [path.read_bytes().decode() for path in written]
    for text in texts:
        assert not RAW.search(text), repr(text)
    if damaged and command not in {"pretrain", "finetune"}:
        assert r"\x1b[31m\u202egpj" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("restore", HOSTILE, "-o", "out"),
        ("classify", HOSTILE),
        ("degrade", HOSTILE, "-o", "out", "-t", "haze"),
        ("score", HOSTILE, "lq"),
        ("compare", HOSTILE, "--input", "lq", "-o", "grid.png"),
        ("benchmark", "--pairs", HOSTILE, "lq", "-m", "identity"),
        ("benchmark", "--data-preset", HOSTILE),
        ("study", "knn", "-m", HOSTILE, "--folder", "haze=lq", "--folder", "noise=gt"),
        ("study", "knn", "-m", "tiny", "--folder", f"haze={HOSTILE}", "--folder", "noise=gt"),
        ("data", "pack", "--photos", HOSTILE, "-o", "out"),
        ("pretrain", "--preset", HOSTILE, "--photos", "lq"),
        ("finetune", "--preset", "tiny", "--photos", "lq", "--init-from", HOSTILE),
        ("models", "show", HOSTILE),
        ("presets", "show", HOSTILE),
    ],
    ids=" ".join,
)
def test_names_in_errors_are_escaped(arguments: tuple[str, ...]) -> None:
    lay_out(Path())
    result = run(*arguments)
    assert result.exit_code in (1, 2), result.output
    assert not RAW.search(result.output.replace("\n", "")), repr(result.output)


@pytest.mark.parametrize("command", ["classify", "score", "study tsne"])
def test_names_in_csv_files_are_no_formulas(command: str, monkeypatch) -> None:
    lay_out(Path(), *FORMULAS)
    if command == "classify":
        monkeypatch.chdir("lq")
    words = ["study", "tsne", *COMMANDS["study knn"][2:], "-o", "plane.png", "--perplexity", "2"]
    given = {"classify": ("classify", ".", "--csv", "a.csv"), "score": COMMANDS["score"]}
    result = run(*given.get(command, words))
    assert result.exit_code == 0, result.output
    (file,) = Path().glob("*.csv")
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    cells = [cell for row in rows for cell in row]
    assert sum(cell.startswith("'") for cell in cells) >= len(FORMULAS) - 2
    for cell in cells:
        assert not cell.startswith(("=", "@", "\t", "\r"))
        assert not cell.startswith(("+", "-")) or float(cell) is not None


def test_figures_in_csv_files_stay_numbers(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [["-1.5", -2, "+3e4", "-1+1", "=1", "a"], ["'b", "", None]])
    text = (tmp_path / "a.csv").read_text(encoding="utf-8")
    assert text == "-1.5,-2,+3e4,'-1+1,'=1,a\n'b,,\n"


def test_a_name_with_a_line_break_stays_in_its_row(tmp_path: Path) -> None:
    rows = [[f"a{end}b.png", "1"] for end in ("\r", "\n", "\r\n")]
    write_csv(tmp_path / "a.csv", rows)
    with (tmp_path / "a.csv").open(newline="") as file:
        assert list(csv.reader(file)) == rows


@pytest.mark.parametrize("command", ["knn", "mask", "tsne"])
def test_names_of_weights_in_csv_files_of_studies_are_no_formulas(command: str) -> None:
    lay_out(Path())
    names = ["=1+1", "+a", "-b", "@c"]
    models = [word for name in names for word in ("-m", f"./{name}.safetensors")]
    for name in names:
        shutil.copy(EMBEDDED / "tiny.safetensors", f"{name}.safetensors")
    folders = ("--folder", "haze=lq", "--folder", "noise=gt", "--size", "32", "--images", "6")
    given = ["study", command, *models, *folders, "--csv", "study.csv", "-o", "study.png"]
    result = run(*given, *(["--perplexity", "2"] if command == "tsne" else []))
    assert result.exit_code == 0, result.output
    with Path("study.csv").open(encoding="utf-8", newline="") as stream:
        cells = {cell for row in csv.reader(stream) for cell in row}
    for name in names:
        assert any(cell.startswith(f"'{name}") for cell in cells)
        assert not any(cell.startswith(name) for cell in cells)
