"""What `maskdcpt degrade` says and leaves where a photo cannot be degraded."""

from pathlib import Path

import cv2
import pytest
from PIL import Image

from maskdcpt_cli.data.manifest import read_manifest
from maskdcpt_cli.synthesis.table import degrade as degrade_image
from tests.cli.test_degrade import degrade, photos  # noqa: F401  # a fixture


def test_what_is_refused_midway_leaves_no_pair_without_its_line():
    degrade("photos/sub/b.jpg", "-o", "out", "-t", "noise", "--level", "10")
    both = ("photos/a.png", "photos/sub/b.jpg")
    result = degrade(*both, "-o", "out", "-t", "haze", "-t", "noise", "--level", "noise=50")
    assert result.exit_code == 1
    written = {(path.parts[1], path.name) for path in Path("out").rglob("lq/*")}
    assert written == {("haze", "a.png"), ("haze", "b.png"), ("noise", "a.png"), ("noise", "b.png")}
    lines = read_manifest(Path("out/manifest.jsonl"))
    assert {(line.type, line.file) for line in lines} == written


def in_this_process(function, items, **_how):
    yield from map(function, items)


def test_a_photo_that_cannot_be_degraded_is_named_and_stops_no_other(monkeypatch):
    def refuse(gt, *args, **options):
        if gt.shape[1] == 40:
            raise cv2.error("OpenCV(5.0): dst.cols < SHRT_MAX")
        return degrade_image(gt, *args, **options)

    Image.effect_noise((40, 20), 80).save("photos/strip.png")
    monkeypatch.setattr("maskdcpt_cli.data.degrading.degrade", refuse)
    monkeypatch.setattr("maskdcpt_cli.data.degrading.in_processes", in_this_process)
    result = degrade("photos", "-o", "out", "-t", "raindrop", "--sheet")
    assert result.exit_code == 1
    assert "photos/strip.png cannot be degraded: OpenCV does not take its size." in result.stderr
    assert len(read_manifest(Path("out/manifest.jsonl"))) == 2


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (MemoryError(), "there is not enough memory"),
        (cv2.error("(-4:Insufficient memory) Failed to allocate"), "there is not enough memory"),
        (KeyError("depht"), "KeyError: 'depht'"),
    ],
)
def test_why_a_photo_cannot_be_degraded_is_told(monkeypatch, error, why):
    def refuse(*_args, **_options):
        raise error

    monkeypatch.setattr("maskdcpt_cli.data.degrading.degrade", refuse)
    monkeypatch.setattr("maskdcpt_cli.data.degrading.in_processes", in_this_process)
    result = degrade("photos/a.png", "-o", "out", "-t", "noise")
    assert result.exit_code == 1
    assert f"photos/a.png cannot be degraded: {why}." in result.stderr


def test_a_name_that_no_manifest_takes_is_refused():
    Path("photos/x:1.png").write_bytes(Path("photos/a.png").read_bytes())
    result = degrade("photos", "-o", "out", "-t", "noise")
    assert result.exit_code == 1
    assert "x:1.png: its name begins as a drive of Windows does; rename it." in result.stderr
    assert degrade("photos/a.png", "-o", "out", "-t", "noise").exit_code == 0
