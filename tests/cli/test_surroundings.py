"""Folders that cannot be written, a locale without letters, a home folder that is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import COMMANDS, lay_out, run

WRITING = ("data pack", "benchmark", "degrade", "restore")
# Root may write everywhere, unless it gives up to.
AS_USER = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def check(output: str, reason: str) -> None:
    text = " ".join(output.split())
    assert reason in text
    assert "Traceback" not in text
    assert ".." not in text.replace("...", "").replace("'..'", "")


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="is root")
@pytest.mark.parametrize("command", ["data pack", "benchmark"])
@pytest.mark.parametrize(
    ("mode", "reason"), [(0o500, "Permission denied."), (0o000, "Directory 'out' is not readable.")]
)
def test_a_folder_that_may_not_be_written_is_one_sentence(
    command: str, mode: int, reason: str
) -> None:
    lay_out(Path())
    Path("out").mkdir(mode=mode)
    prefix = AS_USER if os.geteuid() == 0 else ()
    words = [*prefix, sys.executable, "-m", "maskdcpt_cli", *COMMANDS[command]]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    Path("out").chmod(0o700)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    check(done.stderr, reason)
    assert not list(Path("out").iterdir())


@pytest.mark.parametrize("command", WRITING)
def test_a_file_in_place_of_the_folder_is_one_sentence(command: str) -> None:
    lay_out(Path())
    Path("out").write_text("mine", encoding="utf-8")
    result = run(*COMMANDS[command])
    assert result.exit_code in (1, 2), result.output
    check(result.output, "out' is a file")
    assert Path("out").read_text(encoding="utf-8") == "mine"


def test_reasons_of_test_sets_that_are_missing_end_with_one_full_stop() -> None:
    lay_out(Path())
    Path("list.txt").write_text("/a.png b.png\n", encoding="utf-8")
    Path("preset.yaml").write_text(
        "setting: derain\ntest:\n  - degradation: RS\n    sources:\n"
        "      - {name: own, list: list.txt}\n      - {name: none, gt: 'no/{path}'}\n",
        encoding="utf-8",
    )
    given = ("benchmark", "--data-preset", "preset.yaml", "--data-root", ".", "-m", "identity")
    result = run(*given, "-o", "out", "--metrics", "psnr")
    assert result.output.count("Not measured") == 2, result.output
    check(result.output, "there is no no in '.'.")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_names_that_the_terminal_has_no_letters_for_are_escaped(encoding: str) -> None:
    lay_out(Path())
    Path("lq", "日本.png").write_bytes(b"")
    words = [sys.executable, "-m", "maskdcpt_cli", *COMMANDS["data check"]]
    given = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(words, capture_output=True, check=False, env=given)
    assert b"Traceback" not in done.stdout + done.stderr
    expected = "日本.png" if encoding == "utf-8" else r"\u65e5\u672c.png"
    assert expected in (done.stdout + done.stderr).decode(encoding)


def test_figures_are_drawn_without_a_word_where_the_home_folder_cannot_be_written() -> None:
    lay_out(Path())
    Path("file").write_text("", encoding="utf-8")
    words = [sys.executable, "-m", "maskdcpt_cli", *COMMANDS["study knn"], "-o", "a.png", "-q"]
    homes = dict.fromkeys(("HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), "file/a")
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, **homes}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert Path("a.png").stat().st_size
