"""Results of an earlier run: which are known, which are refused, and what a kill leaves."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskdcpt_cli.inference import restore_photo as restore_photo_module
from maskdcpt_cli.inference.events import Job, Settings
from maskdcpt_cli.inference.result_log import existing_result, fingerprint
from maskdcpt_cli.weights.building import DegradationClassifier
from tests.inference.brighten import (
    KNOWN,
    TILED,
    Brighten,
    askable,
    jobs_of,
    outcomes_of,
    ramp,
)
from tests.small import small


def test_skip_leaves_what_the_same_weights_and_settings_wrote(photos, tmp_path):
    jobs = jobs_of(photos, tmp_path / "out")
    outcomes_of(Brighten(), jobs)
    before = [job.target.stat().st_mtime_ns for job in jobs]
    assert {outcome.status for outcome in outcomes_of(Brighten(), jobs)} == {"skipped"}
    assert [job.target.stat().st_mtime_ns for job in jobs] == before


def test_a_result_log_in_the_format_of_the_first_release_is_read(photos, tmp_path):
    engine = Brighten()
    engine.model = small("nafnet")
    with torch.no_grad():
        for parameter in engine.model.parameters():
            parameter.fill_(0.5)
    job = jobs_of(photos, tmp_path / "out")[0]
    os.utime(job.source, ns=(1_700_000_000_000_000_000, 1_700_000_000_000_000_000))
    size = job.source.stat().st_size
    job.target.parent.mkdir()
    job.target.write_bytes(b"a result")
    log = tmp_path / "out" / ".maskdcpt.jsonl"
    line = '{"name": "0.png", "made": ["%s", %d, 1700000000000000000]}\n'
    log.write_text(line % ("251433f2918e0a28", size))
    settings = Settings(tile=64, overlap=8, strength=0.5)
    assert [one.status for one in outcomes_of(engine, [job], settings)] == ["skipped"]
    assert [one.status for one in outcomes_of(engine, [job], Settings())] == ["failed"]


def test_skip_refuses_other_results(photos, tmp_path):
    jobs = jobs_of(photos, tmp_path / "out")
    outcomes_of(Brighten(), jobs)
    other_weights = Brighten()
    other_weights.model = small("nafnet", width=4)
    other_settings = Settings(tile=64, overlap=8, strength=0.5)
    for engine, settings in [(other_weights, TILED), (Brighten(), other_settings)]:
        outcomes = outcomes_of(engine, jobs, settings)
        assert {outcome.status for outcome in outcomes} == {"failed"}
        assert "--existing overwrite" in outcomes[0].reason


def test_skip_sees_that_the_source_changed(photos, tmp_path):
    jobs = jobs_of(photos, tmp_path / "out")
    outcomes_of(Brighten(), jobs)
    Image.fromarray(ramp(12, 12, 3)).save(jobs[0].source)
    outcomes = outcomes_of(Brighten(), jobs)
    assert [outcome.status for outcome in outcomes] == ["failed", "skipped", "skipped"]
    assert f"exists and was restored before '{jobs[0].source}' changed" in outcomes[0].reason


def test_an_unsound_photo_is_reported_by_every_run(photos, tmp_path, monkeypatch):
    class Explode(Brighten):
        def __call__(self, lq):
            return super().__call__(lq) * float("nan")

    jobs = jobs_of(photos, tmp_path / "out")
    first, engine = outcomes_of(Explode(), jobs), Explode()
    again = outcomes_of(engine, jobs)
    assert {one.status for one in (*first, *again)} == {"unrestored"}
    assert [one.reason for one in first] == [one.reason for one in again]
    assert not engine.seen
    monkeypatch.setattr(restore_photo_module, "record", lambda *_, **__: None)  # a kill before it
    outcomes_of(Explode(), jobs, existing="overwrite")
    assert {one.status for one in outcomes_of(Explode(), jobs)} == {"unrestored"}


def test_a_file_that_appears_while_a_photo_is_restored_is_never_replaced_unasked(photos, tmp_path):
    job, *_ = jobs_of(photos, tmp_path / "out")

    class Overtaken(Brighten):
        def __call__(self, lq):
            job.target.write_bytes(b"mine")
            return super().__call__(lq)

    for existing in ("skip", "error"):
        (outcome,) = outcomes_of(Overtaken(), [job], existing=existing)
        assert outcome.status == "failed"
        assert job.target.read_bytes() == b"mine"
        job.target.unlink()
    (outcome,) = outcomes_of(Overtaken(), [job], existing="overwrite")
    assert outcome.status == "restored"


def test_the_log_is_read_once_while_it_does_not_change(photos, tmp_path, monkeypatch):
    jobs = jobs_of(photos, tmp_path / "out")
    outcomes_of(Brighten(), jobs)
    read, reads = Path.read_text, []
    monkeypatch.setattr(
        Path, "read_text", lambda path, **options: (reads.append(path), read(path, **options))[1]
    )
    made_by = fingerprint(Brighten().model, TILED)
    assert {existing_result(job, made_by, "skip").status for job in jobs} == {"skipped"}
    assert reads.count(tmp_path / "out" / ".maskdcpt.jsonl") <= 1


def test_numbers_of_numpy_are_settings(photos, tmp_path):
    jobs = jobs_of(photos, tmp_path / "out")
    outcomes_of(Brighten(), jobs)
    of_numpy = Settings(tile=np.int64(64), overlap=np.int64(8))
    assert {one.status for one in outcomes_of(Brighten(), jobs, of_numpy)} == {"skipped"}


def test_a_source_that_changes_while_it_is_restored_is_not_taken_for_restored(
    photos, tmp_path, monkeypatch
):
    jobs = jobs_of(photos, tmp_path / "out")
    write = restore_photo_module.write_photo

    def edited(photo, *args, **options):
        if photo.path == jobs[0].source:
            Image.fromarray(ramp(12, 12, 3)).save(photo.path)
        return write(photo, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(restore_photo_module, "write_photo", edited)
        assert {one.status for one in outcomes_of(Brighten(), jobs)} == {"restored"}
    statuses = [one.status for one in outcomes_of(Brighten(), jobs)]
    assert statuses == ["failed", "skipped", "skipped"]


def test_a_file_of_the_users_own_is_never_replaced_unasked(photos, tmp_path):
    jobs = jobs_of(photos, tmp_path / "out")
    jobs[0].target.parent.mkdir()
    jobs[0].target.write_text("mine")
    for existing in ("skip", "error"):
        outcomes = outcomes_of(Brighten(), jobs[:1], existing=existing)
        assert outcomes[0].status == "failed"
        assert jobs[0].target.read_text() == "mine"
    assert outcomes_of(Brighten(), jobs[:1], existing="overwrite")[0].status == "restored"


def test_a_result_that_was_written_just_before_a_kill_is_known(photos, tmp_path, monkeypatch):
    jobs = jobs_of(photos, tmp_path / "out")
    monkeypatch.setattr(restore_photo_module, "record", lambda *_, **__: None)
    outcomes_of(Brighten(), jobs)
    assert {outcome.status for outcome in outcomes_of(Brighten(), jobs)} == {"skipped"}


def test_an_earlier_result_is_not_taken_for_one_that_a_kill_prevented(
    photos, tmp_path, monkeypatch
):
    jobs = jobs_of(photos, tmp_path / "out")
    outcomes_of(Brighten(), jobs)
    other = Settings(tile=64, overlap=8, strength=0.5)
    with monkeypatch.context() as patch:
        patch.setattr(restore_photo_module, "write_photo", lambda *_, **__: ())
        patch.setattr(restore_photo_module, "record", lambda *_, **__: None)
        outcomes_of(Brighten(), jobs, other, existing="overwrite")
    assert {one.status for one in outcomes_of(Brighten(), jobs)} == {"skipped"}
    assert {one.status for one in outcomes_of(Brighten(), jobs, other)} == {"failed"}


def test_a_log_that_cannot_be_written_whole_fails_the_file(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "write", lambda _file, data: len(data) - 1)
    outcomes = outcomes_of(Brighten(), jobs_of(photos, tmp_path / "out"))
    assert {outcome.status for outcome in outcomes} == {"failed"}
    assert "No space left" in outcomes[0].reason


def test_a_truncated_line_of_the_result_log_is_ignored(photos, tmp_path):
    jobs = jobs_of(photos, tmp_path / "out")
    outcomes_of(Brighten(), jobs)
    log = tmp_path / "out" / ".maskdcpt.jsonl"
    log.write_text(log.read_text() + '{"name": "0.png", "ma')
    assert {outcome.status for outcome in outcomes_of(Brighten(), jobs)} == {"skipped"}


def classifier(**options):
    return DegradationClassifier(small("nafnet"), (*KNOWN, "MR", "clean"), **options)


def test_options_that_no_tensor_shows_count_in_the_fingerprint():
    first, *others = (
        fingerprint(small("nafnet", **options), Settings())
        for options in ({}, {"padding": "zeros"}, {"norm_eps": 1e-6})
    )
    assert len({first, *others}) == 3
    assert first == fingerprint(small("nafnet", padding="reflect", norm_eps=1e-5), Settings())


def test_what_is_asked_counts_in_the_fingerprint_of_models_that_can_be_asked():
    model, given = askable(*KNOWN), classifier()
    auto = fingerprint(model, Settings(), given)
    others = [
        fingerprint(model, Settings(), classifier(temperature=2.0)),
        fingerprint(model, Settings(keep=("haze",)), given),
        fingerprint(model, Settings(remove="all")),
        fingerprint(model, Settings(remove=("noise",))),
        fingerprint(askable("GN", "H", "MR"), Settings(), given),
    ]
    with torch.no_grad():
        next(given.network.parameters()).add_(1)
    others.append(fingerprint(model, Settings(), given))
    assert len({auto, *others}) == 7
    assert fingerprint(model, Settings(), classifier()) == auto


def test_the_fingerprint_of_other_models_is_that_of_earlier_versions():
    assert fingerprint(small("nafnet"), Settings()) == fingerprint(
        small("nafnet"), Settings(remove="all")
    )


@pytest.mark.parametrize("linked", [False, True])
def test_another_photo_of_the_same_name_size_and_time_does_not_count_as_restored(tmp_path, linked):
    if linked:
        (tmp_path / "disk" / "deep").mkdir(parents=True)
        (tmp_path / "out").symlink_to(tmp_path / "disk" / "deep", target_is_directory=True)
    jobs = []
    for number, folder in enumerate(("a", "b")):
        source = tmp_path / folder / "0001.bmp"
        source.parent.mkdir()
        Image.fromarray(np.full((64, 64, 3), number, np.uint8)).save(source)
        os.utime(source, (0, 0))
        jobs.append(Job(source, tmp_path / "out" / "0001.bmp"))
    outcomes_of(Brighten(), jobs[:1])
    (second,) = outcomes_of(Brighten(), jobs[1:])
    assert second.status == "failed"
    assert f"exists and is the result of '{jobs[0].source}': choose another -o;" in second.reason
    copied = tmp_path / "copy" / "0001.bmp"
    copied.parent.mkdir()
    shutil.copy(jobs[0].source, copied)
    (third,) = outcomes_of(Brighten(), [Job(copied, jobs[0].target)])
    assert third.status == "skipped"
    jobs[0].source.unlink()
    jobs[1].source.parent.rename(tmp_path / "a2")
    moved = Job(tmp_path / "a2" / "0001.bmp", jobs[0].target)
    assert [one.status for one in outcomes_of(Brighten(), [moved])] == ["skipped"]


@pytest.mark.parametrize("path", [5, "a\0b", None])
def test_a_source_that_is_no_path_is_as_one_that_is_not_recorded(photos, tmp_path, path):
    job, *_ = jobs_of(photos, tmp_path / "out")
    outcomes_of(Brighten(), [job])
    log = job.target.parent / ".maskdcpt.jsonl"
    entry = {**json.loads(log.read_text().splitlines()[-1]), "path": path}
    log.write_text(json.dumps(entry) + "\n")
    assert [one.status for one in outcomes_of(Brighten(), [job])] == ["skipped"]
