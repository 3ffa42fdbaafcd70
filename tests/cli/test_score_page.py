"""The page of `maskdcpt score --html`."""

import base64
import io
import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskdcpt_cli.cli.score.page import error_map
from tests.cli.test_report import CHROMIUM, OFFLINE, in_a_browser
from tests.cli.test_score import expected, run
from tests.scoring.pairs import photograph, two_folders, write


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    two_folders(tmp_path, pairs=7)


def page(*args: str, code: int = 0) -> str:
    run(*args, "--html", "page.html", code=code)
    return Path("page.html").read_text(encoding="utf-8")


def images(text: str) -> list[Image.Image]:
    found = re.findall('src="data:image/jpeg;base64,([^"]+)"', text)
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


def test_the_page_shows_the_worst_first_and_loads_nothing():
    text = page("restored", "gt")
    assert re.findall(r"<figcaption><b>(\d)\.png", text) == list("6543210")
    assert not re.search(r'(?:src|href)="(?!data:)|url\(|@import|https?:', text)
    shown = images(text)
    assert len(shown) == 21
    gt = np.asarray(shown[1]).astype(int)
    assert np.abs(gt - photograph(6)).mean() < 8  # JPEG of a thumbnail
    assert np.asarray(shown[2]).mean() > np.asarray(shown[-1]).mean()  # the worst errs more


def test_the_page_tells_what_was_measured_and_what_was_not():
    Path("gt/0.png").unlink()
    text = page("restored", "gt", "--min", "psnr=60", code=1)
    for printed in (
        f"{np.mean(expected('psnr')):.2f} dB",
        "PSNR and SSIM in sRGB",
        "below --min psnr=60.",
        "restored/0.png has no ground truth.",
    ):
        assert printed in text


def test_names_on_the_page_are_escaped():
    write(Path("restored/<b> & 'c'.png"), photograph(0))
    write(Path("gt/<b> & 'c'.png"), photograph(1))
    text = page("restored", "gt")
    assert "<b> &" not in text
    assert "&lt;b&gt; &amp; &#39;c&#39;.png" in text


def test_many_images_are_shown_in_part(monkeypatch):
    monkeypatch.setattr(import_module("maskdcpt_cli.cli.score.page"), "MOST", 2)
    text = page("restored", "gt")
    assert text.count("<figure>") == 2
    assert "of 7 images the worst 2 are shown" in text


def test_without_ground_truth_the_page_shows_each_image_once():
    text = page("restored")
    assert len(images(text)) == 7
    assert "Error" not in text


def test_the_error_map_is_black_where_nothing_differs_and_brighter_for_more():
    gt = np.full((1, 4, 3), 100, np.uint8)
    restored = gt + np.array([0, 4, 20, 155], np.uint8)[None, :, None]
    sums = error_map(restored, gt).sum(axis=2)[0].tolist()
    assert sums[0] < 10
    assert sums == sorted(sums)
    assert len(set(sums)) == 4


@in_a_browser
def test_the_page_fits_a_telephone_and_a_desk(tmp_path):
    page("restored", "gt")
    for width in (500, 1200):
        probe = (
            Path("page.html")
            .read_text(encoding="utf-8")
            .replace(
                "</body>",
                "<script>document.title = [document.documentElement.scrollWidth <= innerWidth,"
                " [...document.images].every(i => i.complete && i.naturalWidth > 0),"
                " document.images.length].join()</script></body>",
            )
        )
        Path("probe.html").write_text(probe.replace('loading="lazy"', ""), encoding="utf-8")
        profile = tmp_path / f"profile-{width}"
        dumped = subprocess.run(
            [
                str(CHROMIUM),
                *OFFLINE[:-1],
                f"--user-data-dir={profile}",
                f"--window-size={width},900",
                "--dump-dom",
                Path("probe.html").absolute().as_uri(),
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "<title>true,true,21</title>" in dumped
        shutil.rmtree(profile, ignore_errors=True)
