"""`maskdcpt restore` with the model inside the package, from arguments to files."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from maskdcpt_cli.cli import main
from tests.programs import start_step, unmeasured


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    inside = tmp_path / "in" / "sub"
    inside.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(60, 200, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("in/a.png")
    Image.fromarray(pixels[:, :30]).save("in/sub/b.JPG", format="JPEG")
    Image.fromarray(pixels[..., 0]).save("in/grey.png")
    Path("in/broken.png").write_bytes(Path("in/a.png").read_bytes()[:200])
    Path("in/empty.jpg").touch()
    return tmp_path


def restore(*args: str) -> Result:
    options = ["--backend", "torch", "--precision", "fp32", "--device", "cpu"]
    return CliRunner().invoke(main, ["restore", *args, *options])


def statuses(result: Result) -> dict[str, str]:
    printed = map(json.loads, result.stdout.splitlines())
    return {one["source"]: one["status"] for one in printed}


def test_every_good_file_is_restored_and_every_bad_one_named(folder):
    result = restore("in", "-o", "out")
    assert result.exit_code == 1
    for source in ("a.png", "sub/b.JPG", "grey.png"):
        with Image.open(Path("in", source)) as lq, Image.open(Path("out", source)) as restored:
            assert (restored.size, restored.mode) == (lq.size, lq.mode)
    assert "Restored: 3 photos" in result.stderr
    assert "broken.png" in result.stderr
    assert "empty.jpg" in result.stderr
    assert {path.name for path in Path("out").glob("*.*") if path.name[0] != "."} == {
        "a.png",
        "grey.png",
    }


def test_a_second_run_skips_and_other_settings_are_refused(folder):
    assert restore("in/a.png", "-o", "out").exit_code == 0
    first = Path("out/a.png").read_bytes()
    assert statuses(restore("in/a.png", "-o", "out", "--json")) == {"in/a.png": "skipped"}
    refused = restore("in/a.png", "-o", "out", "--strength", "0")
    assert refused.exit_code == 1
    assert "--existing overwrite" in refused.stderr
    assert Path("out/a.png").read_bytes() == first
    again = restore("in/a.png", "-o", "out", "--strength", "0", "--existing", "overwrite")
    assert again.exit_code == 0
    with Image.open("in/a.png") as lq, Image.open("out/a.png") as restored:
        assert (np.asarray(lq) == np.asarray(restored)).all()


def test_a_run_in_place_writes_beside_and_can_be_repeated(folder):
    options = ["--name", "{stem}_restored{suffix}", "--json"]
    first = statuses(restore("in", "-o", "in", *options))
    assert Path("in/sub/b_restored.JPG").exists()
    again = statuses(restore("in", "-o", "in", *options))
    assert again.keys() == first.keys()
    assert {status for source, status in again.items() if first[source] == "restored"} == {
        "skipped"
    }


def test_sheets_and_the_report_are_written(folder):
    result = restore("in/a.png", "in/sub", "-o", "out", "--compare", "--report", "out/all.html")
    assert result.exit_code == 0, result.stderr
    for sheet in ("out/a.png.compare.jpg", "out/b.JPG.compare.jpg"):
        with Image.open(sheet) as image:
            assert image.width > 96
    assert Path("out/all.html").read_text(encoding="utf-8").count("<figure") == 2


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_whole_results_only(folder, number):
    for copy in range(300):
        Path(f"in/copy{copy:03}.png").write_bytes(Path("in/a.png").read_bytes())
    command = [sys.executable, "-m", "maskdcpt_cli", "restore", "in", "-o", "out", "--device=cpu"]
    running = subprocess.Popen(
        [*command, "--backend=torch"],
        stderr=subprocess.PIPE,
        text=True,
        env={**unmeasured(), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert running.stderr is not None
    for line in running.stderr:
        if "Restored: in/copy" in line:
            break
    running.send_signal(number)
    rest = running.stderr.read()
    assert running.wait() == 130, rest
    assert "Interrupted: " in rest
    assert "Traceback" not in rest
    results = list(Path("out").glob("**/*.png"))
    assert 0 < len(results) < 300
    for path in results:
        with Image.open(path) as image:
            image.load()
    assert not list(Path("out").glob("**/*.part"))


Finished = subprocess.CompletedProcess[str]
SHARING = ["--json", "--report", "all.html", "--device=cpu", "--backend=torch"]
RESTORE = ["-m", "maskdcpt_cli", "restore", "in", "missing.png", "-o", "out", *SHARING]


def by_torchrun() -> Finished:
    """Restore in two processes of torchrun."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.run(
        [*torchrun, "--nproc-per-node=2", *RESTORE],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def by_srun() -> Finished:
    """Restore in two tasks of Slurm; the second prints nothing."""
    main, other = start_step(*RESTORE[1:])
    out, err = main.communicate(timeout=120)
    assert other.communicate(timeout=120) == ("", "")
    assert other.returncode == 0
    return subprocess.CompletedProcess(RESTORE, main.returncode, out, err)


@pytest.mark.torchrun
@pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs libuv there")
@pytest.mark.parametrize(("restore", "code"), [(by_torchrun, 0), (by_srun, 1)])
def test_processes_share_the_photos_and_one_tells_of_all(restore, code, folder):
    for copy in range(8):
        Path(f"in/copy{copy}.png").write_bytes(Path("in/a.png").read_bytes())
    result = restore()
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    printed = [json.loads(line) for line in result.stdout.splitlines()]
    sources = [one["source"] for one in printed]
    assert len(sources) == len(set(sources)) == 5 + 8 + 1
    assert sum(one["status"] == "restored" for one in printed) == 3 + 8
    assert {"missing.png"} <= {one["source"] for one in printed if one["status"] == "failed"}
    assert len(list(Path("out").glob("copy*.png"))) == 8
    assert Path("all.html").read_text(encoding="utf-8").count("<figure") == 3 + 8
