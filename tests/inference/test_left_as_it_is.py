"""Photos, or pages of them, that nothing is removed from: they are left as they are."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskdcpt_cli.inference import restore_photo as restore_photo_module
from maskdcpt_cli.inference.events import Job, Settings
from maskdcpt_cli.inference.restore import restore
from tests.inference.brighten import TILED, Askable, jobs_of, outcomes_of, ramp


@pytest.mark.parametrize("given", [{}, {"remove": ()}])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_an_image_that_nothing_is_removed_from_is_returned_as_it_is(finds, given, dtype):
    finds(())
    engine, image = Askable(), ramp(80, 70, 4, dtype=dtype)
    assert np.array_equal(restore(engine, image, **given), image)
    assert not engine.seen


def test_a_clean_photo_keeps_its_file(finds, photos, tmp_path):
    for one in photos.iterdir():
        one.unlink()
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(noise).save(photos / "a.jpg", quality=60, comment=b"mine")
    (job,) = jobs_of(photos, tmp_path / "out")
    finds(())
    engine = Askable()
    (outcome,) = outcomes_of(engine, [job])
    assert job.target.read_bytes() == job.source.read_bytes()
    assert (outcome.status, outcome.found, outcome.removed) == ("restored", (), ())
    assert not engine.seen
    assert [one.status for one in outcomes_of(Askable(), [job])] == ["skipped"]

    for settings in (Settings(strip=True), Settings(quality=20)):
        outcomes_of(engine, [job], settings, existing="overwrite")
        with Image.open(job.target) as written:
            assert ("comment" in written.info) == (settings.quality is not None)
            assert (written.quantization[0][0] > 20) == (settings.quality is not None)
    as_png = Job(job.source, tmp_path / "out" / "a.png")
    outcomes_of(engine, [as_png])
    decoded = np.asarray(Image.open(job.source))
    assert np.array_equal(np.asarray(Image.open(as_png.target)), decoded)


def test_a_clean_photo_that_changes_while_it_is_copied_fails(finds, photos, tmp_path, monkeypatch):
    copy = shutil.copyfileobj

    def late(file, to):
        with Path(file.name).open("ab") as source:
            source.write(b"more")
        copy(file, to)

    finds(())
    job, *_ = jobs_of(photos, tmp_path / "out")
    monkeypatch.setattr(restore_photo_module.shutil, "copyfileobj", late)
    (outcome,) = outcomes_of(Askable(), [job])
    assert outcome.status == "failed"
    assert "has changed since it was read" in outcome.reason
    assert [one.name for one in job.target.parent.iterdir()] == [".maskdcpt.jsonl"]


@pytest.mark.parametrize("found", [("MR",), ("H",), ("H", "MR")])
def test_what_is_found_and_not_removed_is_reported(finds, photos, tmp_path, found):
    finds(found)
    jobs = jobs_of(photos, tmp_path / "out")
    for outcome in outcomes_of(Askable(), jobs, replace(TILED, keep=("haze",))):
        assert (outcome.found, outcome.removed) == (found, ())
        assert outcome.job.target.read_bytes() == outcome.job.source.read_bytes()


def test_from_a_photo_whose_output_was_unsound_nothing_is_removed(finds, photos, tmp_path):
    class Unsound(Askable):
        def __call__(self, lq):
            return lq * float("nan")

    finds(("GN",))
    for outcome in outcomes_of(Unsound(), jobs_of(photos, tmp_path / "out")):
        assert (outcome.status, outcome.found, outcome.removed) == ("unrestored", ("GN",), ())
