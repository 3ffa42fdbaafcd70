"""`maskdcpt data check`, from arguments to what is seen."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from maskdcpt_cli.cli import main
from maskdcpt_cli.presets.load import names
from tests.data.packing import packed
from tests.data.servers import serving
from tests.datasets import degraded, photos, save
from tests.programs import unmeasured

PRESET = """
setting: 5d
train:
- degradation: LL
  pairs: 6
  repeat: 60
  sources: [{name: LOL, lq: "low/{n}", gt: "high/{n}"}]
- degradation: GN
  repeat: 15
  sources:
  - {name: BSD, gt: "high/{n}", pairs: 6}
  - {name: "[WED]", gt: "low/{n}"}
test:
- degradation: GN
  sources: [{name: CBSD, gt: "test/{n}"}]
"""


@pytest.fixture(autouse=True)
def _data(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MASKDCPT_DATA", raising=False)
    Path("my.yaml").write_text(PRESET, encoding="utf-8")
    for number, photo in enumerate(photos()[:6]):
        save(Path(f"data/high/{number}.png"), photo)
        save(Path(f"data/low/{number}.png"), degraded(photo, "LL"))
    for number, photo in enumerate(photos()[6:9]):
        save(Path(f"data/test/{number}.png"), photo)


def check(*args: str, columns: int = 200) -> Result:
    command = [
        "data",
        "check",
        "--data-preset",
        "my.yaml",
        "--data-root",
        "data",
        "--jobs",
        "1",
        *args,
    ]
    return CliRunner().invoke(main, command, env={"COLUMNS": str(columns)})


def damage() -> None:
    Path("data/low/1.png").write_bytes(b"nothing")
    save(Path("data/high/7.png"), photos()[6])
    for number in range(20, 40):
        shutil.copy("data/low/0.png", f"data/low/{number}.png")


def test_data_without_a_fault_are_a_table_and_exit_code_0():
    result = check()
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines == [
        "Set Type Source Expected Found Repeat State",
        "train LL LOL 6 6 60 ok",
        "train GN 2 sources 12 15 ok",
        "BSD 6 6 ok",
        "[WED] 6 ok",
        "test GN CBSD 3 ok",
        "",
        "21 pairs read: 0 errors, 0 warnings.",
    ]


def test_errors_are_listed_by_kind_and_source_and_are_exit_code_1():
    damage()
    result = check()
    assert result.exit_code == 1
    assert "Unreadable: 2\n  train LL LOL\n    low/1.png cannot be read" in result.stdout
    assert "In training and test sets: 1\n  train GN BSD\n    high/7.png is" in result.stdout
    assert "low/20.png has no clean image" in result.stdout
    assert "low/29.png has no clean image" not in result.stdout
    assert "and 16 more; --json lists them all" in result.stdout
    assert "1 unreadable" in result.stdout.splitlines()[1]


def test_another_number_alone_is_a_warning():
    Path("my.yaml").write_text(PRESET.replace("pairs: 6", "pairs: 7", 1), encoding="utf-8")
    result = check()
    assert result.exit_code == 0
    assert "other number" in result.stdout.splitlines()[1]
    assert "0 errors, 1 warning." in result.stdout


def test_json_holds_everything_and_nothing_else_is_printed():
    damage()
    result = check("--json")
    assert result.exit_code == 1
    assert not result.stderr
    report = json.loads(result.stdout)
    assert [source["title"] for source in report["sources"]] == [
        "train LL LOL",
        "train GN BSD",
        "train GN [WED]",
        "test GN CBSD",
    ]
    assert report["sources"][0] | {"found": 0, "expected": 0} == {
        "set": "train",
        "degradation": "LL",
        "name": "LOL",
        "title": "train LL LOL",
        "expected": 0,
        "found": 0,
        "repeat": 60,
    }
    unpaired = [problem for problem in report["problems"] if problem["kind"] == "unpaired"]
    assert len(unpaired) == 21  # and high/7.png
    assert {problem["error"] for problem in unpaired} == {True}
    assert unpaired[0]["file"] == "low/20.png"


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ([], "Missing option '--data-preset'"),
        (["--data-preset", "tinny", "--data-root", "data"], "Did you mean 'tiny'?"),
        (["--data-preset", "tiny"], "give --data-root FOLDER, or set MASKDCPT_DATA"),
        (["--data-preset", "tiny", "--data-root", "nowhere"], "'nowhere' is not a folder"),
        (["--data-preset", "no.yaml", "--data-root", "data"], "no.yaml cannot be read"),
    ],
)
def test_wrong_usage_is_a_sentence_and_exit_code_2(command, sentence):
    result = CliRunner().invoke(main, ["data", "check", *command])
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_the_data_root_may_be_in_the_environment():
    command = ["data", "check", "--data-preset", "my.yaml", "--jobs", "1"]
    result = CliRunner().invoke(main, command, env={"MASKDCPT_DATA": "data"})
    assert result.exit_code == 0


@pytest.mark.parametrize("name", names())
def test_every_preset_is_checked_where_there_are_no_data(name):
    Path("empty").mkdir()
    command = ["data", "check", "--data-preset", name, "--data-root", "empty", "--jobs", "1"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "is not there" in result.stdout
    assert "0 pairs read" in result.stdout


def test_a_tab_offers_presets():
    env = {
        "_MASKDCPT_COMPLETE": "bash_complete",
        "COMP_WORDS": "maskdcpt data check --preset m",
        "COMP_CWORD": "4",
    }
    result = CliRunner().invoke(main, [], prog_name="maskdcpt", env=env)
    assert result.stdout.split() == ["plain,mixed", "plain,motion-deblur"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a file that is never read to its end")
def test_ctrl_c_stops_all_processes_without_a_traceback():
    for number in range(100, 140):
        shutil.copy("data/test/0.png", f"data/test/{number}.png")
    os.mkfifo("data/test/010.png")
    command = ["data", "check", "--data-preset", "my.yaml", "--data-root", "data", "--jobs", "2"]
    with subprocess.Popen(
        [sys.executable, "-m", "maskdcpt_cli", *command],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Programs in the background of a script ignore Ctrl-C; these tests may be one.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        env={**unmeasured(), "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        pipe = _opened_by_a_reader(Path("data/test/010.png"))
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=30)  # until no process has stderr open
        os.close(pipe)
    assert process.returncode == 130
    assert stderr.startswith("Interrupted: ")
    assert stderr.count("\n") == 1


def _opened_by_a_reader(pipe: Path) -> int:
    """The pipe, as soon as a worker waits for what is written to it."""
    for _ in range(600):
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.05)
    raise AssertionError("nobody reads")


def test_shards_at_an_address_are_checked_without_a_data_root(tmp_path):
    out = packed(tmp_path / "packed", images=4)
    command = ["data", "check", "--data-preset", "remote.yaml", "--jobs", "1"]
    with serving(out) as server:
        Path("remote.yaml").write_text(
            "setting: 5d\ntrain:\n- degradation: H\n  sources:\n"
            f"  - {{name: remote, shards: '{server.index}'}}\n",
            encoding="utf-8",
        )
        result = CliRunner().invoke(main, command)
        assert "4 pairs read: 0 errors" in result.stdout
        server.always = "404"
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 1
        assert f"{server.index} cannot be read: the server answers 404" in result.stdout
        packing = ["data", "pack", "--data-preset", "remote.yaml", "-o", "again"]
        server.always = ""
        assert "'remote' is packed already" in CliRunner().invoke(main, packing).stderr
