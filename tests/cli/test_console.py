import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from maskdcpt_cli import files
from maskdcpt_cli.cli.restore_view import (
    RestoreBar,
    RestoreFailures,
    RestoreJson,
    RestoreLines,
    Workload,
    open_view,
    show,
)
from maskdcpt_cli.inference.events import Advanced, Event, Job, Outcome, Started
from maskdcpt_cli.inference.plan import Plan

JOBS = tuple(Job(Path(f"in/{name}.png"), Path(f"out/{name}.png")) for name in "abcd")
SIZES = dict(zip(JOBS, (100, 200, 300, 400), strict=True))
MISSING = Outcome(Job(Path("x.png"), Path("out/x.png")), "failed", "'x.png' does not exist.")
TODO = Plan(JOBS, problems=(MISSING,), skipped_files=2, results=1)


@pytest.fixture(autouse=True)
def _headers(monkeypatch):
    monkeypatch.setattr("maskdcpt_cli.cli.restore_view.count_pixels", lambda job, _: SIZES[job])


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, _environ={"NO_COLOR": "1"})


def run(view, console: Console) -> str:
    def events():
        view.opened("tiny: torch on cpu, fp32")
        for job in JOBS[:2]:
            yield Started(job, SIZES[job])
            yield Advanced(job, SIZES[job])
            yield Outcome(job, "restored", notices=("A notice.",), pixels=SIZES[job])
        yield Outcome(JOBS[2], "skipped")
        yield Started(JOBS[3], 400)
        yield Outcome(JOBS[3], "failed", "Cannot write 'out/d.png': No space left on device.")

    show(events(), TODO, view)
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", console.file.getvalue())


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_terminal_shows_a_bar_and_a_summary_that_fit(width):
    console = terminal(width)
    shown = run(RestoreBar(console, TODO), console)
    lines = re.split(r"[\r\n]+", shown)
    assert max(map(len, lines)) <= width
    words = " ".join(shown.split())
    assert "Restored 2 photos" in words
    assert "Skipped 1 photo" in words
    assert "Failed 2 photos" in words
    assert "• 'x.png' does not exist." in words
    assert "• Cannot write 'out/d.png': No space left on device." in words
    assert "• in/a.png and 1 more photo: A notice." in words
    assert "2 other files in the folders skipped: no images." in words
    assert "1 result of earlier runs skipped." in words


def test_the_bar_tells_the_photo_in_hand_and_the_count():
    console = terminal(100)
    view = RestoreBar(console, TODO)
    view.opened("tiny")
    view.event(MISSING)
    view.event(Started(JOBS[0], 12_000_000))
    view.progress.refresh()
    view.close()
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "in/a.png  12.0 MP" in shown
    assert "1/5 photos, 1 failed" in shown


def test_the_work_is_guessed_from_the_headers_that_were_read():
    work = Workload(JOBS)
    assert work.total() is None
    first = Workload(JOBS[:1])
    first.count()
    first.jobs = JOBS
    assert first.total() == 4 * 100
    work.count()
    assert work.total() == 1000


@pytest.mark.parametrize(
    ("events", "total", "advanced"),
    [
        ([Advanced(JOBS[1], 200), Outcome(JOBS[1], "restored")], 1000, 200),
        ([Outcome(JOBS[3], "skipped")], 600, 0),
        ([Advanced(JOBS[2], 100), Outcome(JOBS[2], "failed", "full")], 800, 100),
        ([Advanced(JOBS[2], 100), Advanced(JOBS[2], -100)], 1000, 0),
    ],
)
def test_photos_that_need_no_work_leave_the_total(events: list[Event], total, advanced):
    work = Workload(JOBS)
    work.count()
    for event in events:
        if isinstance(event, Advanced):
            work.advance(event)
        elif isinstance(event, Outcome):
            work.end(event)
    assert (work.total(), work.advanced) == (total, advanced)


def test_photos_that_are_done_before_they_are_counted_leave_the_total():
    work = Workload(JOBS)
    work.advance(Advanced(JOBS[0], 100))
    work.end(Outcome(JOBS[0], "restored"))
    work.end(Outcome(JOBS[3], "skipped"))
    work.count()
    assert work.total() == 100 + 200 + 300


@pytest.mark.parametrize(
    ("environment", "options", "view"),
    [
        ({"FORCE_COLOR": "1"}, {}, RestoreBar),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, {}, RestoreLines),
        ({}, {}, RestoreLines),
        ({"FORCE_COLOR": "1"}, {"quiet": True}, RestoreFailures),
        ({"FORCE_COLOR": "1"}, {"json": True}, RestoreJson),
        ({}, {"json": True, "quiet": True}, RestoreJson),
    ],
)
def test_options_and_terminal_choose_the_view(monkeypatch, environment, options, view):
    for name in ("FORCE_COLOR", "TERM", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    chosen = open_view(TODO, **{"json": False, "quiet": False, **options})
    assert type(chosen) is view


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("käse.jpg", "käse.jpg"),
        ("caf\udce9.jpg", r"caf\xe9.jpg"),
        ("a\nb\x1b[31m.jpg", r"a\nb\x1b[31m.jpg"),
        ("[red]x[/].jpg", "[red]x[/].jpg"),
    ],
)
def test_names_cannot_break_the_terminal(text, shown):
    assert files.shown(text) == shown
