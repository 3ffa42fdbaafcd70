"""Before/after sheets beside the results of a run."""

import os
from dataclasses import replace

import pytest

from maskdcpt_cli.errors import ImageError
from maskdcpt_cli.images.contact_sheets import sheet_of
from maskdcpt_cli.images.reader import PhotoReader
from maskdcpt_cli.inference.events import Settings, Started
from maskdcpt_cli.inference.restore import restore_files
from tests.inference.brighten import TILED, Brighten, jobs_of, outcomes_of


def test_a_sheet_is_written_beside_the_result(photos, tmp_path):
    jobs = jobs_of(photos, tmp_path / "out")[:1]
    outcomes_of(Brighten(), jobs, Settings(tile=64, overlap=8, compare=True))
    assert [path.name for path in (tmp_path / "out").glob("*compare*")] == ["0.png.compare.jpg"]


def test_a_sheet_is_written_beside_a_result_of_an_earlier_run(photos, tmp_path):
    jobs = jobs_of(photos, tmp_path / "out")
    outcomes_of(Brighten(), jobs)
    outcomes = outcomes_of(Brighten(), jobs, replace(TILED, compare=True))
    assert {one.status for one in outcomes} == {"skipped"}
    sheets = [sheet_of(job.target) for job in jobs]
    times = [sheet.stat().st_mtime_ns for sheet in sheets]
    outcomes_of(Brighten(), jobs, replace(TILED, compare=True))
    assert times == [sheet.stat().st_mtime_ns for sheet in sheets]
    os.utime(sheets[0], ns=(0, 0))  # of a result before this one
    outcomes_of(Brighten(), jobs, replace(TILED, compare=True))
    assert sheets[0].stat().st_mtime_ns > 0


def test_a_sheet_that_fails_does_not_fail_the_photo(photos, tmp_path):
    jobs = jobs_of(photos, tmp_path / "out")[:1]
    (tmp_path / "out" / "0.png.compare.jpg").mkdir(parents=True)
    (outcome,) = outcomes_of(Brighten(), jobs, Settings(tile=64, overlap=8, compare=True))
    assert outcome.status == "restored"
    assert any("No before/after sheet" in notice for notice in outcome.notices)


def test_a_sheet_that_cannot_be_read_does_not_fail_later_photos(photos, tmp_path, monkeypatch):
    preview = PhotoReader.preview

    def failing(self, path, **how):  # type: ignore[no-untyped-def]
        if path.name == "0.png":
            raise ImageError("its decoder crashed.")
        return preview(self, path, **how)

    monkeypatch.setattr(PhotoReader, "preview", failing)
    jobs = jobs_of(photos, tmp_path / "out")
    outcomes = outcomes_of(Brighten(), jobs, Settings(tile=64, overlap=8, compare=True))
    assert {outcome.status for outcome in outcomes} == {"restored"}
    assert len(list((tmp_path / "out").glob("*compare*"))) == len(jobs) - 1


def test_an_interrupted_run_writes_the_sheets_of_what_it_has_restored(photos, tmp_path):
    jobs = jobs_of(photos, tmp_path / "out")
    settings = Settings(tile=64, overlap=8, compare=True)
    with PhotoReader() as reader:
        events = restore_files(Brighten(), jobs, settings, reader=reader)
        while not (isinstance(event := next(events), Started) and event.job == jobs[-1]):
            pass
        with pytest.raises(KeyboardInterrupt):
            events.throw(KeyboardInterrupt())
    written = [job.target for job in jobs if job.target.exists()]
    assert written
    for target in written:
        assert target.with_name(target.name + ".compare.jpg").exists()
