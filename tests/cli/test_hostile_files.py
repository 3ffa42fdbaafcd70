"""A file whose decoder hangs, crashes or takes memory fails with one reason; the others go on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from maskdcpt_cli.images import workers
from tests.cli.commands import COMMANDS, lay_out, run
from tests.images import hostile_worker
from tests.images.hostile_worker import write_hostile
from tests.programs import unmeasured

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits differ there")

REASONS = {"crash": "its decoder crashed", "spin": "decoding it takes too long"}
DONE = {
    "restore": "out/e.png",
    "classify": "out/e.png.map.png",
    "degrade": "out/noise/lq/e.png",
    "score": "score.csv",
    "compare": "grid.png",
}
PROGRAM = (
    "from maskdcpt_cli.images import workers\n"
    f"workers.PROGRAM = {hostile_worker.PROGRAM!r}\n"
    "from maskdcpt_cli.cli import main\n"
    "main(prog_name='maskdcpt')"
)


@pytest.fixture(autouse=True)
def _hostile(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workers, "PROGRAM", hostile_worker.PROGRAM)


@pytest.mark.parametrize(
    ("command", "what"), [("restore", "spin"), *((command, "crash") for command in DONE)]
)
def test_the_others_go_on(command: str, what: str) -> None:
    lay_out(Path())
    for folder in ("lq", "gt"):
        Image.new("RGB", (8, 8)).save(Path(folder, "bad.png"))
    write_hostile(Path("lq/bad.png"), what)
    result = run(*COMMANDS[command])
    text = " ".join(result.output.split())
    assert result.exit_code == 1, text
    assert text.count(f"bad.png cannot be read: {REASONS[what]}") == 1
    assert "Traceback" not in text
    assert Path(DONE[command]).exists(), text


def test_data_check_reads_the_other_pairs() -> None:
    lay_out(Path())
    for folder in ("lq", "gt"):
        Image.new("RGB", (8, 8)).save(Path(folder, "bad.png"))
    write_hostile(Path("gt/bad.png"), "crash")
    result = run(*COMMANDS["data check"])
    text = " ".join(result.output.split())
    assert result.exit_code == 1, text
    assert text.count(f"bad.png cannot be read: {REASONS['crash']}") == 1
    assert "6 pairs read" in text


def test_packing_leaves_out_an_image_whose_header_ends_its_process() -> None:
    lay_out(Path())
    write_hostile(Path("gt/bad.png"), "crash", when="header")
    Image.new("RGB", (8, 8)).save("lq/bad.png")
    result = run(*COMMANDS["data pack"])
    text = " ".join(result.output.split())
    assert result.exit_code == 1, text
    assert text.count("gt/bad.png cannot be read: its decoder crashed") == 1
    assert Path("out/index.json").exists()


def test_packing_names_the_file_that_ended_it() -> None:
    lay_out(Path())
    for folder in ("lq", "gt"):
        Image.new("RGB", (8, 8)).save(Path(folder, "bad.png"))
    write_hostile(Path("lq/bad.png"), "crash")
    result = run(*COMMANDS["data pack"])
    assert result.exit_code == 1, result.output
    assert "lq/bad.png cannot be read: its decoder crashed" in " ".join(result.output.split())
    assert not list(Path("out").glob("*.json"))


@pytest.mark.parametrize(
    ("command", "number"),
    [
        *((command, signal.SIGINT) for command in (*DONE, "data check", "data pack")),
        pytest.param("restore", signal.SIGTERM, marks=pytest.mark.slow),
        ("degrade", signal.SIGTERM),
    ],
)
def test_a_hung_decoder_does_not_hold_up_an_interruption(command: str, number: int) -> None:
    lay_out(Path())
    write_hostile(Path("lq/a.png"), "wait for long")
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *COMMANDS[command]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**unmeasured(), "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        hung = hostile_worker.hung_process()
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Interrupted" in errors
    assert "Traceback" not in errors
    assert not Path(f"/proc/{hung}").exists()
    if command != "data pack":  # which reads while it writes; its next run removes this
        assert not list(Path().glob("**/*.part"))
