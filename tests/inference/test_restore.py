import errno
import os
from contextlib import closing

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from maskdcpt_cli.errors import ImageError, MaskDCPTError
from maskdcpt_cli.images.reading import read_photo
from maskdcpt_cli.inference import restore_photo as restore_photo_module
from maskdcpt_cli.inference.events import Advanced, Job, Outcome, Settings, Started
from maskdcpt_cli.inference.restore import restore, restore_files, restore_folder
from tests.images.test_colour import PROFILES
from tests.inference.brighten import TILED, Brighten, jobs_of, outcomes_of, ramp


class Explode(Brighten):
    def __call__(self, lq):
        return lq * float("nan")


class ExplodeInBf16(Explode):
    precision = "bf16"

    def in_fp32(self):
        return Brighten()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 2), (80, 66, 3), (19, 140, 4)])
def test_an_array_keeps_its_shape_type_and_alpha(shape, dtype):
    image = ramp(*shape, dtype=dtype)
    restored = restore(Brighten(), image, settings=TILED)
    assert (restored.shape, restored.dtype) == (image.shape, image.dtype)
    has_alpha = len(shape) == 3 and shape[2] % 2 == 0
    if has_alpha:
        assert np.array_equal(restored[..., -1], image[..., -1])
        restored, image = restored[..., :-1], image[..., :-1]
    peak = 1.0 if dtype == np.float32 else np.iinfo(dtype).max
    expected = image + 0.5 * (peak - image)
    tolerance = 1e-5 if dtype == np.float32 else 0.51
    assert np.abs(restored - expected).max() <= tolerance


class Unchanging(Brighten):
    """An engine that finds nothing to change."""

    def __call__(self, lq):
        self.seen.append(lq)
        return lq


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("strength", [0, 0.5, 1])
def test_what_the_network_leaves_alone_comes_back_as_it_was(dtype, strength):
    image, engine = ramp(100, 120, 3, dtype=dtype), Unchanging()
    unchanged = restore(engine, image, settings=Settings(tile=64, overlap=8, strength=strength))
    assert np.array_equal(unchanged, image)
    assert bool(engine.seen) == (strength > 0)


@pytest.mark.parametrize("strength", [0, 1])
@pytest.mark.parametrize("size", [(40, 50), (40, 50, 1), (40, 50, 3), (8, 8), (8, 8, 3), (8, 8, 4)])
def test_the_result_is_an_array_of_its_own(size, strength):
    image = ramp(*size)
    image.flags.writeable = False
    before = image.copy()
    restored = restore(Brighten(), image, settings=Settings(strength=strength))
    assert not np.shares_memory(restored, image)
    restored[:] = 0
    assert np.array_equal(image, before)


def test_strength_blends_with_the_input():
    image = ramp(20, 30, 3, dtype=np.float32)
    half = restore(Brighten(), image, settings=Settings(strength=0.5))
    assert np.allclose(half, image + 0.25 * (1 - image), atol=1e-6)


def test_hidden_colour_neither_changes_nor_bleeds():
    image = np.full((16, 16, 4), 100, np.uint8)
    image[:8] = 120
    image[:, 8:] = (255, 0, 255, 0)
    engine = Brighten()
    restored = restore(engine, image)
    assert np.array_equal(restored[:, 8:], image[:, 8:])
    assert set((engine.seen[0] * 255).round().unique().tolist()) == {100, 120}
    assert (restored[:, :8, :3] > 150).all()


class Redden(Brighten):
    """Tints what it restores, as networks do."""

    def __call__(self, lq):
        tint = torch.tensor([0.12, 0.0, 0.05]).view(3, 1, 1)
        return super().__call__(lq) + tint


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("alpha", [False, True])
def test_grey_comes_back_grey_also_when_it_is_stored_as_rgb(dtype, alpha):
    grey = ramp(80, 120, 1, dtype=dtype)
    layers = [grey, grey, grey, *[ramp(80, 120, 1, dtype=dtype)] * alpha]
    restored = restore(Redden(), np.concatenate(layers, axis=2), settings=TILED)
    assert np.array_equal(restored[..., 0], restored[..., 1])
    assert np.array_equal(restored[..., 0], restored[..., 2])
    assert np.array_equal(restored[..., 0], restore(Redden(), grey, settings=TILED)[..., 0])
    assert not np.array_equal(restored[..., 0], grey[..., 0])


def test_colour_stays_colour():
    image = ramp(80, 120, 3)
    image[5, 5] = (100, 101, 100)
    restored = restore(Redden(), image, settings=TILED)
    assert not np.array_equal(restored[..., 0], restored[..., 1])


def test_self_ensemble_turns_the_network_eight_times():
    engine = Brighten()
    restore(engine, ramp(16, 24, 3), settings=Settings(tta=True))
    assert [tuple(lq.shape[-2:]) for lq in engine.seen] == [(16, 24)] * 4 + [(24, 16)] * 4


def test_an_unsound_array_is_refused_with_the_reason():
    with pytest.raises(ImageError, match="not restored"):
        restore(Explode(), ramp(20, 20, 3))


def test_an_unsound_output_is_tried_again_in_full_precision():
    image = ramp(40, 40, 3)
    assert np.array_equal(restore(ExplodeInBf16(), image), restore(Brighten(), image))


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4, 5), np.uint8), np.zeros((4, 4), int), np.zeros(4), np.zeros((0, 4))]
)
def test_other_arrays_are_refused(image):
    with pytest.raises(ImageError, match="Cannot take an array"):
        restore(Brighten(), image)


def test_every_job_ends_in_one_outcome_and_progress_adds_up(photos, tmp_path):
    jobs = jobs_of(photos, tmp_path / "out")
    events = list(restore_files(Brighten(), jobs, TILED))
    outcomes = [event for event in events if isinstance(event, Outcome)]
    assert [outcome.job for outcome in outcomes] == jobs
    assert {outcome.status for outcome in outcomes} == {"restored"}
    for job, outcome in zip(jobs, outcomes, strict=True):
        mine = [event for event in events if event.job == job]
        assert isinstance(mine[0], Started)
        assert isinstance(mine[-1], Outcome)
        assert sum(e.pixels for e in mine if isinstance(e, Advanced)) == outcome.pixels
        source, target = np.asarray(Image.open(job.source)), np.asarray(Image.open(job.target))
        assert np.abs(target - (source + 0.5 * (255.0 - source))).max() <= 0.5


def test_a_bad_file_does_not_stop_the_others(photos, tmp_path):
    (photos / "1.png").write_bytes(b"no image")
    outcomes = outcomes_of(Brighten(), jobs_of(photos, tmp_path / "out"))
    ends = {outcome.job.source.name: outcome.status for outcome in outcomes}
    assert ends == {"0.png": "restored", "1.png": "failed", "2.png": "restored"}
    assert any("1.png" in (outcome.reason or "") for outcome in outcomes)


def test_a_photo_the_network_stumbles_over_does_not_stop_the_others(photos, tmp_path):
    class Stumble(Brighten):
        def __call__(self, lq):
            if lq.shape[-2:] == (24, 24):
                raise RuntimeError("no kernel for this shape")
            return super().__call__(lq)

    outcomes = outcomes_of(Stumble(), jobs_of(photos, tmp_path / "out"))
    ends = {outcome.job.source.name: outcome.status for outcome in outcomes}
    assert ends == {"0.png": "restored", "1.png": "failed", "2.png": "restored"}
    assert "no kernel for this shape" in {outcome.reason for outcome in outcomes}


@pytest.mark.parametrize("step", ["prepare", "restore_page", "write_photo"])
def test_an_error_of_any_kind_fails_that_photo_alone(photos, tmp_path, monkeypatch, step):
    called, calls = getattr(restore_photo_module, step), []

    def stumble(*args, **options):
        calls.append(args)
        if len(calls) == 1:
            raise cv2.error("(-4:Insufficient memory) Failed to allocate 1 bytes")
        return called(*args, **options)

    monkeypatch.setattr(restore_photo_module, step, stumble)
    outcomes = outcomes_of(Brighten(), jobs_of(photos, tmp_path / "out"))
    assert sorted(one.status for one in outcomes) == ["failed", "restored", "restored"]
    assert any("Insufficient memory" in (one.reason or "") for one in outcomes)


def test_an_unsound_photo_keeps_its_pixels_and_says_so(photos, tmp_path):
    jobs = jobs_of(photos, tmp_path / "out")
    events = list(restore_files(Explode(), jobs, TILED))
    outcomes = [event for event in events if isinstance(event, Outcome)]
    assert {outcome.status for outcome in outcomes} == {"unrestored"}
    assert all("NaN" in outcome.reason for outcome in outcomes)
    assert sum(event.pixels for event in events if isinstance(event, Advanced)) == 0
    for job in jobs:
        assert job.target.read_bytes() == job.source.read_bytes()


def test_a_full_disk_fails_the_file_and_leaves_nothing(photos, tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    outcomes = outcomes_of(Brighten(), jobs_of(photos, tmp_path / "out"))
    assert {outcome.status for outcome in outcomes} == {"failed"}
    assert "No space left" in outcomes[0].reason
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".maskdcpt.jsonl"]


def test_a_folder_that_cannot_be_created_fails_the_file(photos, tmp_path):
    (tmp_path / "out").write_text("a file")
    engine = Brighten()
    outcomes = outcomes_of(engine, jobs_of(photos, tmp_path / "out"))
    assert {outcome.status for outcome in outcomes} == {"failed"}
    exists = os.strerror(errno.EEXIST)
    assert outcomes[0].reason == f"Cannot create the folder '{tmp_path / 'out'}': {exists}."
    assert not engine.seen


def test_a_folder_that_may_not_be_written_into_fails_the_file(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    engine = Brighten()
    outcomes = outcomes_of(engine, jobs_of(photos, tmp_path / "out"))
    assert {one.reason for one in outcomes} == {
        f"The folder '{tmp_path / 'out'}' cannot be written into."
    }
    assert not engine.seen


def test_closing_early_leaves_only_whole_files(photos, tmp_path):
    jobs = jobs_of(photos, tmp_path / "out")
    with closing(restore_files(Brighten(), jobs, TILED)) as events:
        for event in events:
            if isinstance(event, Started) and event.job == jobs[1]:
                break
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == [".maskdcpt.jsonl", "0.png"]
    Image.open(jobs[0].target).load()


def test_an_error_of_the_device_while_a_photo_is_finished_fails_that_photo(
    photos, tmp_path, monkeypatch
):
    def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(restore_photo_module, "write_photo", fail)
    outcomes = outcomes_of(Brighten(), jobs_of(photos, tmp_path / "out"))
    assert {outcome.status for outcome in outcomes} == {"failed"}
    assert all("illegal memory access" in str(outcome.reason) for outcome in outcomes)


def test_a_smaller_tile_size_is_reported(photos, tmp_path):
    class Cramped(Brighten):
        def __call__(self, lq):
            if lq.shape[-1] > 128:
                raise MemoryError
            return super().__call__(lq)

    Image.fromarray(ramp(200, 300, 3)).save(photos / "3.png")
    jobs = jobs_of(photos, tmp_path / "out")[-1:]
    (outcome,) = outcomes_of(Cramped(), jobs, Settings(tile=256, overlap=16))
    assert outcome.status == "restored"
    assert any(
        "Out of memory" in notice and "continued with 128" in notice for notice in outcome.notices
    )


def test_a_folder_is_restored_from_python(photos, tmp_path):
    (photos / "below").mkdir()
    Image.fromarray(ramp(10, 10, 3)).save(photos / "below" / "4.png")
    outcomes = list(restore_folder(Brighten(), photos, tmp_path / "out", settings=TILED))
    assert {outcome.status for outcome in outcomes} == {"restored"}
    assert (tmp_path / "out" / "below" / "4.png").exists()


def test_a_folder_without_photos_is_an_error(tmp_path):
    with pytest.raises(MaskDCPTError, match="No image found"):
        list(restore_folder(Brighten(), tmp_path, tmp_path / "out"))


def test_the_network_gets_srgb_whatever_the_profile(tmp_path):
    path = tmp_path / "a.png"
    colours = np.repeat(np.array([[[200, 60, 30]], [[30, 60, 200]]], np.uint8), 64, axis=1)
    Image.fromarray(colours.repeat(20, axis=0)).save(path, icc_profile=PROFILES["p3"][1])
    engine = Brighten()
    outcomes_of(engine, [Job(path, tmp_path / "out.png")], Settings(tile=0))
    photo = read_photo(path, max_pixels=None)
    expected = photo.colour.to_srgb(photo.pages[0].pixels)
    np.testing.assert_allclose(engine.seen[0][0].permute(1, 2, 0), expected, atol=1e-6)
    assert not np.allclose(expected, photo.pages[0].pixels / 255, atol=1e-2)
