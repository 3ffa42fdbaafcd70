import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from maskdcpt_cli.cli.report import write_report
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.inference.events import Job, Outcome, Settings

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
OFFLINE = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
]


@pytest.fixture
def outcomes(tmp_path) -> list[Outcome]:
    restored = []
    for name in ("a.png", "<b> & 'c'.png"):
        job = Job(tmp_path / name, tmp_path / f"restored {name}")
        Image.new("RGB", (64, 48), (20, 20, 20)).save(job.source)
        Image.new("RGB", (64, 48), (230, 230, 230)).save(job.target)
        restored.append(Outcome(job, "restored", pixels=64 * 48))
    lost = Job(tmp_path / "lost.png", tmp_path / "none.png")
    return [*restored, Outcome(lost, "failed", "Cannot read 'lost.png': <it> is truncated.")]


def write(path: Path, outcomes: list[Outcome], **settings) -> str:
    write_report(path, outcomes, model="tiny", settings=Settings(**settings))
    return path.read_text(encoding="utf-8")


def test_the_page_holds_every_photo_twice_and_loads_nothing(tmp_path, outcomes):
    page = write(tmp_path / "new" / "report.html", outcomes)
    assert len(re.findall('src="data:image/jpeg;base64,', page)) == 4
    assert not re.search(r'(?:src|href)="(?!data:)|url\(|@import|https?:', page)


def test_the_page_tells_model_settings_and_counts(tmp_path, outcomes):
    page = write(tmp_path / "report.html", outcomes, strength=0.5, tta=True)
    for text in ("tiny", "strength 0.5, tta", "3 photos: 2 restored, 1 failed"):
        assert f">{text}<" in page


def test_the_page_says_what_was_asked_found_and_removed(tmp_path, outcomes):
    outcomes[0] = replace(outcomes[0], found=("GN", "H"), removed=("GN",))
    outcomes[1] = replace(outcomes[1], found=(), removed=())
    page = write(tmp_path / "report.html", outcomes, keep=("haze", "snow"))
    for text in (
        ">keep haze, snow<",
        "; removed noise from 1; 1 left as it is<",
        "a.png</b> &middot; removed noise; not removed: haze<",
        ".png</b> &middot; nothing found: left as it is; --remove names types<",
    ):
        assert text in page
    assert ">remove noise, jpeg<" in write(tmp_path / "b.html", [], remove=("GN", "J"))


def test_a_photo_that_was_not_restored_does_not_count_as_left_as_it_is(tmp_path, outcomes):
    outcomes[0] = replace(outcomes[0], found=(), removed=())
    outcomes[1] = replace(
        outcomes[1], status="unrestored", reason="it is black", found=("H",), removed=()
    )
    page = write(tmp_path / "report.html", outcomes)
    assert ">3 photos: 1 restored, 1 not restored, 1 failed; 1 left as it is<" in page


def test_names_and_reasons_are_escaped(tmp_path, outcomes):
    page = write(tmp_path / "report.html", outcomes)
    assert "<b> &" not in page
    assert "&lt;b&gt; &amp; &#39;c&#39;.png" in page
    assert "<li>Cannot read &#39;lost.png&#39;: &lt;it&gt; is truncated.</li>" in page


def test_a_result_that_is_gone_does_not_stop_the_page(tmp_path, outcomes):
    outcomes[0].job.target.unlink()
    page = write(tmp_path / "report.html", outcomes)
    assert page.count("<figure") == 1
    assert "restored a.png" in page


def test_many_photos_are_shown_smaller(tmp_path, monkeypatch):
    monkeypatch.setattr("maskdcpt_cli.cli.report.UNSHRUNK", 2)
    Image.new("RGB", (1300, 20)).save(tmp_path / "a.png")
    restored = Outcome(Job(tmp_path / "a.png", tmp_path / "a.png"), "restored")
    for number, width in ((1, 1280), (2, 1280), (8, 640), (20, 480)):
        page = write(tmp_path / "report.html", [restored] * number)
        first = re.search('data:image/jpeg;base64,([^"]+)', page)
        assert Image.open(io.BytesIO(base64.b64decode(first[1]))).width == width


def test_a_page_has_so_many_photos_at_most(tmp_path, outcomes, monkeypatch):
    monkeypatch.setattr("maskdcpt_cli.cli.report.MOST", 1)
    page = write(tmp_path / "report.html", outcomes)
    assert page.count("<figure") == 1
    assert "The first 1 are shown" in page


def test_a_page_that_cannot_be_written_is_reported_and_leaves_nothing(tmp_path, outcomes):
    (tmp_path / "file").touch()
    with pytest.raises(MaskDCPTError, match=r"Cannot write '.*page\.html'"):
        write(tmp_path / "file" / "page.html", outcomes)
    (tmp_path / "report.html").mkdir()
    with pytest.raises(MaskDCPTError, match=r"Cannot write '.*report\.html'"):
        write(tmp_path / "report.html", outcomes)
    assert not list(tmp_path.glob(".*.part"))


class Page:
    """A page in headless Chromium, driven over its DevTools pipe."""

    def __init__(self, commands: int, answers: int) -> None:
        self.commands = os.fdopen(commands, "wb", buffering=0)
        self.answers = os.fdopen(answers, "rb")
        self.number = 0
        self.session: dict[str, str] = {}

    def open(self, address: str) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        self.call("Page.enable")
        self.call("Page.navigate", url=address)
        while self.read().get("method") != "Page.loadEventFired":
            pass

    def close(self) -> None:
        self.session = {}
        self.call("Browser.close")
        self.commands.close()
        self.answers.close()

    def call(self, method: str, **parameters) -> dict:
        self.number += 1
        request = {"id": self.number, "method": method, "params": parameters, **self.session}
        self.commands.write(json.dumps(request).encode() + b"\0")
        while (answer := self.read()).get("id") != self.number:
            pass
        return answer["result"]

    def read(self) -> dict:
        message = b""
        while not message.endswith(b"\0"):
            byte = self.answers.read1(1)
            assert byte, "Chromium ended"
            message += byte
        return json.loads(message[:-1])

    def value(self, script: str):
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"]["value"]

    def clip(self) -> float:
        """Return the part of the first photo shown as before, in percent of its width."""
        clip = self.value("getComputedStyle(document.querySelector('.before')).clipPath")
        hidden = re.fullmatch(r"inset\(0px ([\d.]+)(?:%|px) 0px 0px\)", clip)
        assert hidden, clip
        return 100 - float(hidden[1])

    def at(self, percent: float) -> dict[str, float]:
        """A point on the first photo, so far from its left."""
        frame = "document.querySelector('.frame').getBoundingClientRect()"
        left, top, width = (self.value(f"{frame}.{side}") for side in ("left", "top", "width"))
        return {"x": left + width * percent / 100, "y": top + 20}

    def mouse(self, kind: str, percent: float) -> None:
        point = self.at(percent)
        self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **point)

    def touch(self, kind: str, *percents: float) -> None:
        points = [self.at(percent) for percent in percents]
        self.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    def press(self, key: str) -> None:
        codes = {"ArrowRight": 39, "Home": 36, "End": 35, "Tab": 9}
        for kind in ("rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=codes[key]
            )


@contextmanager
def opened(path: Path, profile: Path) -> Iterator[Page]:
    """A page on disk in Chromium, which keeps its things in `profile`."""
    sent, back = os.pipe(), os.pipe()
    fixed = "import os, sys; a, b, *c = sys.argv[1:]; os.dup2(int(a), 3); os.dup2(int(b), 4)"
    launcher = [sys.executable, "-c", f"{fixed}; os.execv(c[0], c)", str(sent[0]), str(back[1])]
    browser = subprocess.Popen(
        [*launcher, str(CHROMIUM), *OFFLINE, f"--user-data-dir={profile}"],
        pass_fds=(sent[0], back[1]),
        stderr=subprocess.DEVNULL,
    )
    os.close(sent[0])
    os.close(back[1])
    driven = Page(sent[1], back[0])
    try:
        driven.open(path.resolve().as_uri())
        yield driven
    finally:
        driven.close()
        browser.wait()


@pytest.fixture
def page(tmp_path, outcomes) -> Iterator[Page]:
    report = tmp_path / "report.html"
    write(report, outcomes)
    with opened(report, tmp_path / "profile") as driven:
        yield driven


in_a_browser = pytest.mark.skipif(CHROMIUM is None or os.name == "nt", reason="no Chromium here")


@in_a_browser
def test_the_slider_moves_by_mouse(page):
    assert page.clip() == 50
    for percent in (25, 0, 99):
        page.mouse("mousePressed", percent)
        page.mouse("mouseReleased", percent)
        assert page.clip() == pytest.approx(percent, abs=0.5)
    page.mouse("mousePressed", 40)
    page.mouse("mouseMoved", 80)
    assert page.clip() == pytest.approx(80, abs=0.5)


@in_a_browser
def test_the_slider_moves_by_touch(page):
    page.call("Emulation.setTouchEmulationEnabled", enabled=True)
    page.touch("touchStart", 50)
    page.touch("touchMove", 60)
    page.touch("touchMove", 70)
    page.touch("touchEnd")
    assert page.clip() == pytest.approx(70, abs=0.5)


@in_a_browser
def test_the_slider_moves_by_keyboard(page):
    page.press("Tab")
    page.press("ArrowRight")
    assert page.clip() == pytest.approx(51)
    page.press("Home")
    assert page.clip() == 0
    page.press("End")
    assert page.clip() == 100


@in_a_browser
def test_the_left_of_the_slider_shows_before_and_the_right_after(page):
    shot = base64.b64decode(page.call("Page.captureScreenshot")["data"])
    image = Image.open(io.BytesIO(shot)).convert("L")
    left, right = ((page.at(percent)["x"], page.at(percent)["y"] + 40) for percent in (25, 75))
    assert image.getpixel(left) == pytest.approx(20, abs=4)
    assert image.getpixel(right) == pytest.approx(230, abs=4)


@in_a_browser
def test_the_page_fits_a_telephone(page):
    page.call(
        "Emulation.setDeviceMetricsOverride",
        width=360,
        height=740,
        deviceScaleFactor=2,
        mobile=True,
    )
    assert page.value("document.documentElement.scrollWidth") <= 360
