"""Work in several processes: ordered, stoppable, and honest when a process dies."""

import os
import signal
import time
from pathlib import Path

import pytest
from PIL import Image

from maskdcpt_cli.data.parallel import in_processes
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import replacing
from maskdcpt_cli.images.reading import preview


def square(number: int) -> int:
    return number * number


def die(_number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def write_slowly(target: Path | None) -> None:
    if target is None:
        return
    with replacing(target) as stream:
        stream.write(b"half")
        target.with_suffix(".begun").touch()
        time.sleep(60)


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_items(jobs):
    assert list(in_processes(square, range(30), jobs=jobs)) == [n * n for n in range(30)]


def test_items_are_taken_no_further_than_a_few_ahead():
    taken = []
    results = in_processes(square, (taken.append(n) or n for n in range(1000)), jobs=2)
    next(results)
    assert len(taken) < 20
    results.close()


def test_closing_stops_the_processes():
    results = in_processes(square, range(1000), jobs=2)
    next(results)
    results.close()
    with pytest.raises(StopIteration):
        next(results)


def test_a_killed_process_is_reported_in_a_sentence():
    with pytest.raises(MaskDCPTError, match="killed"):
        list(in_processes(die, range(4), jobs=2))


def read_and_die(path: Path) -> None:
    preview(path, max_side=None)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_after_reading_does_not_blame_the_file(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(MaskDCPTError, match="try fewer --jobs"):
        list(in_processes(read_and_die, [tmp_path / "a.png"], jobs=1))
    lost = list(
        in_processes(
            read_and_die,
            [tmp_path / "a.png"],
            jobs=1,
            lost=lambda item, error, _: (item, error.file),
        )
    )
    assert lost == [(tmp_path / "a.png", "")]


def test_stopped_processes_leave_no_half_written_files(tmp_path):
    results = in_processes(write_slowly, [None, tmp_path / "a", tmp_path / "b"], jobs=2)
    next(results)
    while len(list(tmp_path.glob("*.begun"))) < 2:  # both are in the midst of it
        time.sleep(0.01)
    results.close()
    deadline = time.monotonic() + 20
    while list(tmp_path.glob(".*.part")) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert {path.suffix for path in tmp_path.iterdir()} == {".begun"}
