"""Files of several pages."""

import numpy as np
import pytest
from PIL import Image

from maskdcpt_cli.inference.events import Advanced, Job, Outcome
from maskdcpt_cli.inference.restore import restore_files
from tests.inference.brighten import TILED, Askable, Brighten, outcomes_of, ramp


class Unsound(Askable):
    """Yields values that are not finite for pages of these widths."""

    def __init__(self, *widths):
        super().__init__()
        self.widths = widths

    def __call__(self, lq):
        return super().__call__(lq) * (float("nan") if lq.shape[-1] in self.widths else 1)


@pytest.fixture
def scan(tmp_path):
    """A function that writes a TIFF of some pages, and returns the job of its result."""

    def write(pages, result="scan.tif"):
        first, *others = map(Image.fromarray, pages)
        first.save(tmp_path / "scan.tif", save_all=True, append_images=others)
        return Job(tmp_path / "scan.tif", tmp_path / "out" / result)

    return write


def pages_of(path):
    with Image.open(path) as file:
        for number in range(file.n_frames):
            file.seek(number)
            yield np.asarray(file)


def test_all_pages_of_a_tiff_are_restored(scan):
    pages = [ramp(20 + i, 30, 3) for i in range(3)]
    job = scan(pages)
    (outcome,) = outcomes_of(Brighten(), [job])
    assert outcome.status == "restored"
    for page, restored in zip(pages, pages_of(job.target), strict=True):
        assert restored.mean() > page.mean() + 30


def test_each_page_is_decided_by_itself(finds, scan):
    pages = [ramp(40, width, 3) for width in (30, 50, 60)]
    job = scan(pages)
    finds({30: ("GN",), 50: (), 60: ("J", "GN")})
    engine = Askable()
    (outcome,) = outcomes_of(engine, [job])
    assert engine.requests == [[1, 0, 0], [1, 0, 1]]
    assert (outcome.found, outcome.removed) == (("GN", "J"), ("GN", "J"))
    assert outcome.notices == (
        "Nothing to remove was found in 1 of its 3 pages, left as they are: 2.",
    )
    _, second, third = pages_of(job.target)
    assert np.array_equal(second, pages[1])
    assert third.mean() > pages[2].mean() + 30


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_only_the_page_that_the_format_of_the_result_holds_is_restored(finds, scan, suffix):
    clean, hazy = ramp(40, 32, 3), ramp(40, 48, 3)
    job = scan([clean, hazy], f"scan{suffix}")
    finds({32: ()})
    engine = Askable()
    events = list(restore_files(engine, [job], TILED))
    outcome = events[-1]
    assert isinstance(outcome, Outcome)
    assert (outcome.status, outcome.found, outcome.removed) == ("restored", (), ())
    assert not engine.requests
    word = {".jpg": "JPEG"}.get(suffix, suffix[1:].upper())
    assert outcome.notices == (f"{word} holds one page: the first of 2 is taken.",)
    assert outcome.pixels == clean[..., 0].size
    assert sum(one.pixels for one in events if isinstance(one, Advanced)) == outcome.pixels
    if suffix == ".png":
        assert np.array_equal(np.asarray(Image.open(job.target)), clean)


def test_a_page_that_is_not_written_does_not_fail_its_photo(finds, scan):
    job = scan([ramp(40, 32, 3), ramp(40, 48, 3)], "scan.png")
    finds(("J",))
    (outcome,) = outcomes_of(Unsound(48), [job])
    assert (outcome.status, outcome.reason, outcome.removed) == ("restored", None, ("J",))


def test_a_notice_of_some_pages_names_them(scan):
    blank = np.zeros((40, 32, 3), np.uint8)
    job = scan([ramp(40, 32, 3), blank, ramp(8, 32, 3), blank])
    (outcome,) = outcomes_of(Brighten(), [job])
    few = "32x8 pixels are too few to restore, at least 16 a side are needed."
    assert outcome.status == "restored"
    assert outcome.notices == (
        "Pages 2, 4: It is left as it is: it is all of one colour.",
        f"Page 3: It is left as it is: {few}",
    )


def test_a_notice_of_all_pages_names_none(scan):
    (outcome,) = outcomes_of(Brighten(), [scan([np.zeros((40, 32, 3), np.uint8)] * 3)])
    assert outcome.notices == ("It is left as it is: it is all of one colour.",)


def test_the_reason_names_the_pages_whose_output_failed_its_check(finds, scan):
    pages = [ramp(40, width, 3) for width in (32, 48, 64)]
    job = scan(pages)
    finds(("J",))
    for existing in ("overwrite", "skip"):
        (outcome,) = outcomes_of(Unsound(48), [job], existing=existing)
        assert outcome.status == "unrestored"
        assert outcome.reason == "Page 2: the network's output holds NaN or infinite values"
    first, second, third = pages_of(job.target)
    assert np.array_equal(second, pages[1])
    assert first.mean() > pages[0].mean() + 30
    assert third.mean() > pages[2].mean() + 30


def test_the_reason_of_all_pages_names_none(finds, scan):
    job = scan([ramp(40, width, 3) for width in (32, 48)])
    finds(("J",))
    (outcome,) = outcomes_of(Unsound(32, 48), [job])
    assert outcome.reason == "the network's output holds NaN or infinite values"
    assert job.target.read_bytes() == job.source.read_bytes()
