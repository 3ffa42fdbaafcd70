"""Images that hold nothing to restore are left as they are."""

import numpy as np
import pytest
from PIL import Image

from maskdcpt_cli.inference.events import Job, Settings
from maskdcpt_cli.inference.restore import restore
from tests.inference.brighten import TILED, Askable, Brighten, jobs_of, outcomes_of, ramp

FLAT = {"black": 0, "white": 255, "one colour": (10, 130, 60), "nearly black": range(6)}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("values", FLAT.values(), ids=FLAT)
def test_flat_images_are_returned_as_they_are(values, dtype):
    peak = 1 if dtype == np.float32 else np.iinfo(dtype).max
    image = np.resize(np.array(values), (80, 100, 3)) if isinstance(values, range) else values
    image = (np.broadcast_to(image, (80, 100, 3)) / 255 * peak).astype(dtype)
    engine = Brighten()
    assert np.array_equal(restore(engine, image, settings=TILED), image)
    assert not engine.seen


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (15, 15), (15, 400), (400, 15)])
def test_tiny_images_are_returned_as_they_are(size):
    image = ramp(*size, 3)
    assert np.array_equal(restore(Brighten(), image, settings=TILED), image)


def test_small_or_faint_is_not_tiny_or_flat():
    for image in (ramp(16, 16, 3), np.resize(np.uint8([0, 9]), (16, 16, 3))):
        assert not np.array_equal(restore(Brighten(), image), image)


def test_an_unchanged_photo_is_reported(tmp_path):
    hidden = ramp(40, 40, 4)
    hidden[..., 3] = 0
    photos = {"black": np.zeros((40, 40, 3), np.uint8), "hidden": hidden, "tiny": ramp(15, 40, 3)}
    for name, values in photos.items():
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    outcomes = outcomes_of(Brighten(), jobs_of(tmp_path, tmp_path / "out"))
    assert {one.status for one in outcomes} == {"restored"}
    black, transparent, tiny = outcomes
    assert black.notices == ("It is left as it is: it is all of one colour.",)
    assert transparent.notices == ("It is left as it is: none of its pixels is visible.",)
    assert "40x15 pixels are too few to restore" in tiny.notices[0]
    for outcome in outcomes:
        source, target = (
            np.asarray(Image.open(p)) for p in (outcome.job.source, outcome.job.target)
        )
        assert np.array_equal(source, target)


@pytest.mark.parametrize("size", [(40, 40, 3), (15, 400, 3)], ids=["flat", "tiny"])
def test_an_unchanged_photo_keeps_its_file(tmp_path, size):
    values = ramp(*size) if size[0] == 15 else np.zeros(size, np.uint8)
    noise = np.random.default_rng(0).integers(0, 9, size, np.uint8) * (size[0] == 15)
    Image.fromarray(values + noise).save(tmp_path / "a.jpg", quality=60)
    pages = [Image.fromarray(values[:, :, 0]).convert("1")] * 2
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=pages[1:])
    for outcome in outcomes_of(Brighten(), jobs_of(tmp_path, tmp_path / "out")):
        assert outcome.job.target.read_bytes() == outcome.job.source.read_bytes()
        (notice,) = outcome.notices
        assert notice.startswith("It is left as it is: ")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [2, 4])
def test_an_image_without_a_visible_pixel_is_returned_as_it_is(channels, dtype):
    engine, image = Brighten(), ramp(80, 100, channels, dtype=dtype)
    image[..., -1] = 0
    assert np.array_equal(restore(engine, image), image)
    assert not engine.seen


def test_at_strength_zero_the_network_does_not_run_and_that_is_said(photos, tmp_path):
    engine = Brighten()
    settings = Settings(strength=0)
    outcomes = outcomes_of(engine, jobs_of(photos, tmp_path / "out"), settings)
    assert not engine.seen
    assert {(one.status, one.removed, one.notices) for one in outcomes} == {
        ("restored", None, ("It is left as it is: the strength is 0.",))
    }


@pytest.mark.parametrize("given", [{}, {"remove": ("H",)}])
@pytest.mark.parametrize(("alpha", "strength"), [(255, 0), (0, 1)])
def test_nothing_is_removed_where_no_pixel_can_change(finds, tmp_path, alpha, strength, given):
    finds(("H",))
    image = ramp(40, 50, 4)
    image[..., 3] = alpha
    Image.fromarray(image).save(tmp_path / "a.png")
    job = Job(tmp_path / "a.png", tmp_path / "out" / "a.png")
    engine = Askable()
    (outcome,) = outcomes_of(engine, [job], Settings(strength=strength, **given))
    assert not engine.requests
    assert not outcome.removed
    (notice,) = outcome.notices
    assert notice.startswith("It is left as it is: ")
