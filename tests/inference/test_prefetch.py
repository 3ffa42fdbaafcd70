"""Reading ahead: its order, and the bounds of its threads and of its memory."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskdcpt_cli.inference import prefetch as prefetch_module
from maskdcpt_cli.inference import restore as restore_module
from maskdcpt_cli.inference import restore_page as restore_page_module
from maskdcpt_cli.inference import restore_photo as restore_photo_module
from maskdcpt_cli.inference.events import Job, Outcome, Settings, Started
from maskdcpt_cli.inference.prefetch import InFlight, prefetch, threads_for
from maskdcpt_cli.inference.restore import restore_files
from tests.inference.brighten import TILED, Brighten, jobs_of, outcomes_of, ramp


@pytest.mark.parametrize("ahead", [1, 3, 20])
def test_items_come_in_order_and_so_many_are_read_ahead(ahead: int) -> None:
    submitted: list[int] = []

    def read(item: int) -> int:
        time.sleep(0.001 * (item % 3))
        return item * 10

    class Counting(ThreadPoolExecutor):
        def submit(self, fn, item):  # type: ignore[no-untyped-def]
            submitted.append(item)
            return super().submit(fn, item)

    with Counting(4) as executor:
        for number, (item, reading) in enumerate(prefetch(executor, read, range(9), ahead=ahead)):
            assert item == number
            assert reading.result() == item * 10
            assert len(submitted) == min(9, number + 1 + ahead)


def test_without_room_nothing_is_read_ahead() -> None:
    in_flight = InFlight(limit=100)

    def items():  # type: ignore[no-untyped-def]
        for item in range(6):
            in_flight.begin(item, file_bytes=0)
            yield item

    def read(item: int) -> int:
        in_flight.measured(item, 80 if item < 3 else 10)
        return item

    most = 0
    with ThreadPoolExecutor(4) as executor:
        for item, reading in prefetch(executor, read, items(), ahead=4, room=in_flight.room):
            assert reading.result() == item
            time.sleep(0.01)
            most = max(most, len(in_flight._bytes))
            in_flight.end(item)
    assert most <= 2


def test_an_item_that_is_not_read_counts_as_the_largest_or_by_its_file() -> None:
    in_flight = InFlight(limit=1000)
    assert in_flight.room()
    in_flight.begin("a", file_bytes=90)
    assert in_flight.room()
    in_flight.begin("b", file_bytes=20)
    assert not in_flight.room()
    in_flight.measured("a", 300)
    assert in_flight.room()
    in_flight.measured("b", 500)
    assert not in_flight.room()
    in_flight.end("a")
    assert in_flight.room()


def test_after_an_item_above_the_limit_others_are_read_ahead_again() -> None:
    in_flight = InFlight(limit=100)
    in_flight.begin("huge", file_bytes=0)
    in_flight.measured("huge", 500)
    assert not in_flight.room()
    in_flight.end("huge")
    assert in_flight.room()
    in_flight.begin("a", file_bytes=1)
    in_flight.measured("a", 20)
    assert in_flight.room()


@pytest.mark.parametrize(
    ("device", "cores", "processes", "expected"),
    [
        ("cpu", 2, 1, 1),
        ("cpu", 16, 1, 4),
        ("cuda:1", 16, 1, 8),
        ("cuda", 16, 8, 1),
        ("cuda", 1, 1, 1),
    ],
)
def test_threads_share_the_cores(
    device: str, cores: int, processes: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        prefetch_module.os, "sched_getaffinity", lambda _: range(cores), raising=False
    )
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert threads_for(device) == expected


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Jobs of twelve photos, of which one is no photo, for four threads."""
    monkeypatch.setattr(restore_module, "threads_for", lambda _device: 4)
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(12):
        Image.fromarray(ramp(24 + i, 30, 3)).save(folder / f"{i:02}.png")
    (folder / "05.png").write_bytes(b"no image")
    return jobs_of(folder, tmp_path / "out")


def uneven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make earlier photos take longer to write than later ones."""
    write = restore_photo_module.write_photo

    def slowly(photo, pages, target, **options):  # type: ignore[no-untyped-def]
        time.sleep(0.02 * (3 - int(target.stem) % 4))
        return write(photo, pages, target, **options)

    monkeypatch.setattr(restore_photo_module, "write_photo", slowly)


def test_outcomes_and_log_have_the_order_of_the_jobs(
    many: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    uneven(monkeypatch)
    outcomes = outcomes_of(Brighten(), many)
    assert [outcome.job for outcome in outcomes] == many
    assert [outcome.status for outcome in outcomes].count("restored") == 11
    log = (many[0].target.parent / ".maskdcpt.jsonl").read_text().splitlines()
    names = [job.target.name for job in many if job.source.name != "05.png"]
    for word in ("begun", "made"):
        lines = [json.loads(line) for line in log if word in json.loads(line)]
        assert [line["name"] for line in lines] == names


def test_several_threads_give_the_results_of_one(
    many: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes_of(Brighten(), many)
    several = [job.target.read_bytes() for job in many if job.target.exists()]
    monkeypatch.setattr(restore_module, "threads_for", lambda _device: 1)
    outcomes_of(Brighten(), many, existing="overwrite")
    assert [job.target.read_bytes() for job in many if job.target.exists()] == several


def test_photos_are_read_and_written_at_a_time(
    many: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, writing = restore_photo_module.write_photo, threading.Barrier(3, timeout=20)

    def together(photo, pages, target, **options):  # type: ignore[no-untyped-def]
        if int(target.stem) < 3:
            writing.wait()  # broken, and an error, unless three are written at a time
        return write(photo, pages, target, **options)

    monkeypatch.setattr(restore_photo_module, "write_photo", together)
    assert [outcome.status for outcome in outcomes_of(Brighten(), many)].count("restored") == 11


def test_memory_bounds_the_photos_in_flight(
    many: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore_module, "InFlight", lambda: InFlight(limit=1))
    uneven(monkeypatch)
    seen: list[str] = []
    for event in restore_files(Brighten(), many, TILED):
        match event:
            case Started():
                before = many[: many.index(event.job)]
                assert seen == [job.source.name for job in before]
            case Outcome():
                seen.append(event.job.source.name)
    assert len(seen) == 12


def test_bands_of_two_photos_at_most_wait_on_the_device(
    many: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    blend, passes, blended = restore_page_module._Target.blend, 0, 0
    ahead: list[int] = []

    def slowly(*arguments):  # type: ignore[no-untyped-def]
        nonlocal blended
        time.sleep(0.03)
        blend(*arguments)
        blended += 1

    class Counting(Brighten):
        def __call__(self, lq):  # type: ignore[no-untyped-def]
            nonlocal passes
            ahead.append(passes - blended)
            passes += 1
            return super().__call__(lq)

    monkeypatch.setattr(restore_page_module._Target, "blend", slowly)
    outcomes_of(Counting(), many, Settings(tile=0))
    assert 1 <= max(ahead) <= 2


def test_closing_early_writes_what_was_restored_and_reads_nothing_more(
    many: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    uneven(monkeypatch)
    read: list[str] = []
    reading = restore_module.load

    def counted(job, *rest):  # type: ignore[no-untyped-def]
        read.append(job.source.name)
        time.sleep(0.05)
        return reading(job, *rest)

    monkeypatch.setattr(restore_module, "load", counted)
    with closing(restore_files(Brighten(), many, Settings(tile=64, overlap=4))) as events:
        for event in events:
            if isinstance(event, Started) and event.job == many[3]:
                break
    left = sorted(path.name for path in many[0].target.parent.iterdir())
    assert left == [".maskdcpt.jsonl", "00.png", "01.png", "02.png"]
    for job in many[:3]:
        assert np.asarray(Image.open(job.target)).mean() > np.asarray(Image.open(job.source)).mean()
    assert len(read) <= 8
