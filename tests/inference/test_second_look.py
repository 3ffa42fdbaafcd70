"""What shows in a photo once its haze or darkness is removed."""

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest

from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.images.photo import Page
from maskdcpt_cli.inference import removal as removal_module
from maskdcpt_cli.inference.classify import Found
from maskdcpt_cli.inference.events import Settings
from maskdcpt_cli.inference.removal import Removal, Remover
from maskdcpt_cli.inference.restore_page import RestoredPage, prepare
from maskdcpt_cli.weights.building import DegradationClassifier
from tests.inference.test_page_passes import Removing, photo, run, values

REQUESTS = ("GN", "H", "J")
THRESHOLDS = {"GN": 0.8, "H": 0.8}
SIZE = (96, 80)


@pytest.fixture
def shows(monkeypatch):
    """A function that sets what a photo shows: as it is, and once it has more contrast.

    It returns the list of the thresholds of each look.
    """
    seen, contrast, looks = {}, photo(*SIZE, 3).std() / 255, []

    def find(classifier, page, colour, *, orientation):
        assert orientation == 6
        looks.append(classifier.thresholds)
        pixels = page.pixels / np.iinfo(page.pixels.dtype).max
        labels = seen["later" if pixels.std() > 1.5 * contrast else "first"]
        return Found(dict.fromkeys(labels, 0.9), labels)

    def show(first, later):
        seen.update(first=first, later=later)
        return looks

    monkeypatch.setattr(removal_module, "find_degradations", find)
    return show


def restored(page: Page, engine: Removing | None = None, **given) -> tuple[RestoredPage, list[int]]:
    """Return the restored page, and the progress."""
    engine, settings = engine or Removing(REQUESTS), Settings(**given)
    classifier = DegradationClassifier(Mock(), REQUESTS, thresholds=THRESHOLDS)
    prepared = prepare(page, Colour(), Remover(REQUESTS, settings, classifier), orientation=6)
    return run(engine, prepared, settings)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_noise_that_shows_once_haze_is_gone_is_removed(shows, dtype, channels) -> None:
    shows(first=("H",), later=("GN", "H"))
    image = np.broadcast_to(photo(*SIZE, 1, dtype=dtype), (*SIZE, channels)).copy()
    result, progress = restored(Page(image))
    most = np.iinfo(dtype).max
    expected = 0.5 + 2 * (image / most - 0.5) + 0.05
    assert np.abs(values(result) - expected).max() <= 1.02 / most + 1e-5
    assert (result.found, result.removed) == (("H", "GN"), ("H", "GN"))
    assert sum(progress) == SIZE[0] * SIZE[1]


def test_noise_that_is_likelier_than_not_is_removed_once_the_photo_has_changed(shows) -> None:
    looks = shows(first=("H",), later=("GN",))
    restored(Page(photo(*SIZE, 3)))
    assert looks == [THRESHOLDS, {}]
    assert DegradationClassifier(Mock(), REQUESTS).threshold("GN") == 0.5


def test_types_of_the_scene_are_not_removed_twice(shows) -> None:
    shows(first=("H",), later=("H",))
    engine = Removing(REQUESTS)
    result, _progress = restored(Page(photo(*SIZE, 3)), engine)
    assert [types for types, _size in engine.seen] == [("H",)]
    assert result.removed == ("H",)


def test_what_is_removed_at_first_is_not_removed_again(shows) -> None:
    shows(first=("GN", "H"), later=("GN", "J"))
    engine = Removing(REQUESTS)
    result, _progress = restored(Page(photo(*SIZE, 3)), engine)
    two_scales = [("GN",)] * 2
    assert [types for types, _size in engine.seen] == [*two_scales, ("H",), ("J",)]
    assert result.removed == ("GN", "H", "J")


@pytest.mark.parametrize(
    ("first", "given", "removed"),
    [
        (("GN",), {}, ("GN",)),
        ((), {}, ()),
        (("H",), {"remove": ("H",)}, ("H",)),
        (("H",), {"remove": "all"}, REQUESTS),
    ],
)
def test_a_photo_is_looked_at_again_only_where_auto_removed_haze_or_darkness(
    shows, first, given, removed
) -> None:
    looks = shows(first=first, later=("J",))
    result, _progress = restored(Page(photo(*SIZE, 3)), **given)
    assert len(looks) == (0 if given else 1)
    assert result.removed is not None
    assert set(result.removed) == set(removed)


def test_what_is_kept_stays_in_what_shows_later_too(shows) -> None:
    shows(first=("H",), later=("GN",))
    result, _progress = restored(Page(photo(*SIZE, 3)), keep=("GN",))
    assert result.removed == ("H",)


def test_the_first_result_stays_where_the_check_of_the_second_fails(shows) -> None:
    class Failing(Removing):
        def with_request(self, request):
            sound, unsound = super().with_request(request), replace(self, unsound=("fp32",))
            return Removing.with_request(unsound, request) if request[0, 0] else sound

    shows(first=("H",), later=("GN",))
    page = Page(photo(*SIZE, 3))
    result, progress = restored(page, Failing(REQUESTS))
    dehazed, _progress = restored(page, keep=("GN",))
    assert np.array_equal(result.finished().pixels, dehazed.finished().pixels)
    assert (result.reason, result.removed) == (None, ("H",))
    assert sum(progress) == SIZE[0] * SIZE[1]
    (notice,) = result.notices
    assert notice.startswith("What showed in the result was not removed from it: ")


def test_the_first_result_stays_where_memory_runs_out_in_the_second(shows) -> None:
    class Exhausted(Removing):
        def with_request(self, request):
            smaller = replace(self, largest=0 if request[0, 0] else 10_000)
            return Removing.with_request(smaller, request)

        def in_fp32(self):
            return self

    shows(first=("H",), later=("GN",))
    page = Page(photo(*SIZE, 3))
    result, progress = restored(page, Exhausted(REQUESTS))
    dehazed, _progress = restored(page, keep=("GN",))
    assert np.array_equal(result.finished().pixels, dehazed.finished().pixels)
    assert (result.reason, result.removed) == (None, ("H",))
    assert sum(progress) == SIZE[0] * SIZE[1]
    assert any("was not removed from it: " in notice for notice in result.notices)


def test_what_shows_later_is_not_looked_for_where_the_network_knows_no_more(shows) -> None:
    classifier = DegradationClassifier(Mock(), REQUESTS, thresholds=THRESHOLDS)
    remover = Remover(("GN", "H"), Settings(), classifier)
    assert remover.after(Removal(("GN",), ("H",))) is None
    again = remover.after(Removal((), ("H",)))
    assert again is not None
    assert again.requests == ("GN",)


def test_transparent_pixels_stay_through_both_passes(shows) -> None:
    shows(first=("H",), later=("GN",))
    image, alpha = photo(*SIZE, 3), np.full(SIZE, 255, np.uint8)
    alpha[:8] = 0
    result, _progress = restored(Page(image, alpha))
    assert np.array_equal(result.finished().pixels[:8], image[:8])
    assert not np.array_equal(result.finished().pixels[8:], image[8:])
