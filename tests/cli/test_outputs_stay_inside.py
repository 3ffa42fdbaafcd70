"""No command writes outside of its output folder, or reads what a list or a name leads to."""

import json
import re
from pathlib import Path

import pytest

from maskdcpt_cli.data.manifest import read_manifest
from maskdcpt_cli.data.pairs import read_list
from maskdcpt_cli.data.sources import scan
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import is_below
from maskdcpt_cli.presets.data import Manifest
from tests.cli.commands import COMMANDS, lay_out, run

LEADS_OUT = "it leads out of"
# Folders, and files, of each command's output that a link in its place would lead elsewhere.
FOLDERS = {
    "restore": ("out/sub",),
    "classify": ("out/sub",),
    "degrade": ("out/noise", "out/noise/lq", "out/noise/gt/sub"),
    "benchmark": ("out/examples", "out/restored"),
    "pretrain": ("run/samples", "run/tensorboard"),
    "finetune": ("run/samples", "run/skipped"),
}
FILES = {
    "restore": ("out/a.png", "out/a.png.compare.jpg", "out/.maskdcpt.jsonl"),
    "classify": ("out/a.png.map.png",),
    "degrade": ("out/noise/lq/a.png", "out/manifest.jsonl", "out/sheet.jpg"),
    "benchmark": ("out/results.jsonl", "out/table.md", "out/table.csv", "out/index.html"),
    "data pack": ("out/index.json", "out/index.npy"),
    "pretrain": ("run/preset.yaml", "run/log.jsonl", "run/launches.jsonl"),
    "finetune": ("run/final.safetensors", "run/plot.png"),
}
SINGLE = {
    "restore": "report.html",
    "classify": "classify.csv",
    "score": "score.html",
    "compare": "grid.png",
    "study knn": "study.csv",
}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    lay_out(Path())
    for folder in ("lq", "gt"):
        Path(folder, "sub").mkdir()
        Path(folder, "a.png").rename(Path(folder, "sub", "f.png"))
        Path(folder, "b.png").rename(Path(folder, "a.png"))


def link(name: str, *, to: str) -> Path:
    """Put a link in the place of an output, which leads out of the folder."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    target = Path("..", "elsewhere", to).resolve()
    Path(name).symlink_to(target)
    return target


CASES = [
    *((command, name, "") for command, names in FOLDERS.items() for name in names),
    *((command, name, "file") for command, names in FILES.items() for name in names),
]


@pytest.mark.parametrize(("command", "name", "to"), CASES, ids=str)
def test_links_that_lead_out_are_refused(command: str, name: str, to: str) -> None:
    link(name, to=to)
    result = run(*COMMANDS[command])
    assert result.exit_code == 1, result.output
    assert LEADS_OUT in " ".join(result.output.split())
    assert list(Path("../elsewhere").iterdir()) == []


@pytest.mark.parametrize("command", SINGLE)
def test_a_single_file_replaces_a_link_and_does_not_follow_it(command: str) -> None:
    target = link(SINGLE[command], to="file")
    target.write_text("mine", encoding="utf-8")
    overwrite = ["--existing", "overwrite"] if command == "restore" else ["--overwrite"]
    result = run(*COMMANDS[command], *overwrite)
    assert result.exit_code == 0, result.output
    assert target.read_text(encoding="utf-8") == "mine"


def test_links_within_the_folder_and_a_linked_folder_are_allowed() -> None:
    Path("real").mkdir()
    Path("out").symlink_to("real")
    Path("real/sub").symlink_to("other")
    Path("real/other").mkdir()
    result = run(*COMMANDS["degrade"])
    assert result.exit_code == 0, result.output
    result = run("classify", "lq", "--map", "out", "-q")
    assert result.exit_code == 0, result.output
    assert Path("real/other/f.png.map.png").is_file()


@pytest.mark.parametrize(
    "name",
    ["../{stem}{suffix}", "/elsewhere/{stem}{suffix}", "a/{stem}{suffix}", "..\\{stem}{suffix}"],
)
def test_names_of_results_have_no_folder(name: str) -> None:
    result = run("restore", "lq", "-o", "out", "--name", name)
    assert result.exit_code == 2
    assert "must be a file name" in " ".join(result.output.split())
    assert not Path("out").exists()


PATHS = ("../a.png", "sub/../../a.png", "/etc/a.png", "..")


@pytest.mark.parametrize("name", [*PATHS, "..\\a.png", "C:\\a.png", "\\a.png"])
def test_manifests_lead_nowhere_else(name: str) -> None:
    assert not is_below(name)
    line = {"file": name, "type": "noise", "kind": "poisson", "level": 1, "seed": 0}
    Path("manifest.jsonl").write_text(
        json.dumps({**line, "parameters": {}}) + "\n", encoding="utf-8"
    )
    with pytest.raises(MaskDCPTError, match="line 1: not a line of a manifest"):
        scan(Manifest(name="own", manifest="manifest.jsonl"), Path(), None)
    with pytest.raises(MaskDCPTError, match="line 1: not a line of a manifest"):
        read_manifest(Path("manifest.jsonl"))


def test_manifests_that_are_no_text_are_refused() -> None:
    Path("manifest.jsonl").write_bytes(b'{"file": "\xff"}\n')
    with pytest.raises(MaskDCPTError, match="line 1: not a line of a manifest"):
        scan(Manifest(name="own", manifest="manifest.jsonl"), Path(), None)
    with pytest.raises(MaskDCPTError, match="line 1: not a line of a manifest"):
        read_manifest(Path("manifest.jsonl"))


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("line", ["{}", "{} lq/b.png", "gt/b.png\t{}", "{}\r"])
def test_lists_lead_nowhere_else(line: str, name: str) -> None:
    first = "gt/a.png" if len(line.split()) == 1 else "gt/a.png lq/a.png"
    for text in (f"{first}\n{line.format(name)}\n", f"{first}\n{line.format(name)}"):
        Path("list.txt").write_bytes(text.encode())
        with pytest.raises(MaskDCPTError, match=r"list.txt, line 2: a path leads out"):
            read_list(Path("list.txt"))


def test_dots_within_names_are_allowed() -> None:
    Path("list.txt").write_text("a..b/..c/d...png lq/..png\nx../y.. a.\n", encoding="utf-8")
    gt, lq = read_list(Path("list.txt"))
    assert lq is not None
    assert [gt[0], lq[0], gt[1], lq[1]] == ["a..b/..c/d...png", "lq/..png", "x../y..", "a."]


def test_a_preset_leads_nowhere_else() -> None:
    text = Path("preset.yaml").read_text(encoding="utf-8")
    Path("preset.yaml").write_text(text.replace("lq/{path}", "../lq/{path}"), encoding="utf-8")
    result = run(*COMMANDS["data check"])
    assert result.exit_code == 2
    assert re.search("below the data root", " ".join(result.output.split()))
