"""What a network is asked to remove."""

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from maskdcpt_cli import load_classifier
from maskdcpt_cli.degradations import removable
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.images.reading import page_from_array, read_photo
from maskdcpt_cli.inference import removal as removal_module
from maskdcpt_cli.inference.backends import open_engine
from maskdcpt_cli.inference.classify import Found
from maskdcpt_cli.inference.events import Job, Settings
from maskdcpt_cli.inference.removal import (
    Removal,
    check_removal,
    decide_removal,
    open_remover,
    request_of,
)
from maskdcpt_cli.inference.restore import restore, restore_folder
from tests.images.test_colour import PROFILES
from tests.inference.brighten import (
    KNOWN,
    TILED,
    Askable,
    Brighten,
    askable,
    classifier,
    jobs_of,
    outcomes_of,
    ramp,
)
from tests.small import calm, small


@pytest.mark.parametrize(
    ("given", "found", "native", "reduced"),
    [
        ({}, ("H", "MR"), (), ("H",)),
        ({}, ("J", "GN"), ("GN", "J"), ()),
        ({}, (), (), ()),
        ({"keep": ("H",)}, ("H", "J"), ("J",), ()),
        ({"remove": "all"}, None, ("GN", "J"), ("H",)),
        ({"remove": "all", "keep": ("GN", "J")}, None, (), ("H",)),
        ({"remove": ("J", "GN")}, None, ("GN", "J"), ()),
        ({"remove": ()}, None, (), ()),
    ],
)
def test_what_is_found_or_named_and_not_kept_is_removed_at_its_scale(given, found, native, reduced):
    found = None if found is None else Found({}, found)
    assert decide_removal(KNOWN, Settings(**given), found) == Removal(native, reduced)
    assert decide_removal((), Settings(), None) is None


def test_a_request_has_the_order_of_the_network():
    assert request_of(("J", "GN"), KNOWN).tolist() == [[1, 0, 1]]


@pytest.mark.parametrize(
    ("model", "given", "sentence"),
    [
        (
            askable(*KNOWN),
            {"remove": ("moire", "haze")},
            "does not know moire: it removes noise, haze, jpeg",
        ),
        (askable(*KNOWN), {"keep": ("snow",)}, "does not know snow: it removes noise, haze, jpeg"),
        (askable(*KNOWN), {"remove": "all", "keep": KNOWN}, "nothing is left to remove"),
        (askable(), {}, "does not name the types that it removes, .* give remove all"),
        (askable(), {"remove": "all", "keep": ("haze",)}, "does not name the types"),
        (small("nafnet"), {"remove": ("noise",)}, "cannot be asked .* take tiny-asked, or"),
        (small("nafnet"), {"keep": ("haze",)}, "cannot be asked what to remove"),
    ],
)
def test_what_a_model_cannot_be_asked_is_one_sentence_before_a_photo_is_read(
    model, given, sentence, photos, tmp_path
):
    settings = Settings(**given)
    with pytest.raises(MaskDCPTError, match=sentence):
        check_removal(model, settings)
    engine = Askable()
    engine.model = model
    with pytest.raises(MaskDCPTError, match=sentence):
        restore(engine, ramp(20, 20, 3), settings=settings)
    with pytest.raises(MaskDCPTError, match=sentence):
        list(restore_folder(engine, photos, tmp_path / "out", settings=settings))
    assert not engine.seen
    assert not (tmp_path / "out").exists()


def test_a_model_whose_types_have_no_names_can_be_asked_for_all(finds):
    engine = Askable()
    engine.model = askable()
    restore(engine, ramp(20, 20, 3), remove="all")
    assert engine.requests == [None]


@pytest.mark.parametrize("settings", [Settings(), Settings(remove="all")])
def test_other_models_restore_as_ever_and_nothing_is_classified(photos, tmp_path, settings):
    outcomes = outcomes_of(Brighten(), jobs_of(photos, tmp_path / "out"), settings)
    assert {(one.found, one.removed) for one in outcomes} == {(None, None)}
    assert {one.status for one in outcomes} == {"restored"}


@pytest.mark.parametrize(
    ("given", "requests"),
    [
        ({}, [[0, 1, 0]]),
        ({"remove": "all"}, [[1, 1, 1]]),
        ({"remove": "all", "keep": ("noise",)}, [[0, 1, 1]]),
        ({"remove": ("jpeg",)}, [[0, 0, 1]]),
    ],
)
@pytest.mark.parametrize("settings", [None, TILED, replace(TILED, tta=True)])
def test_the_network_is_asked_for_what_is_to_be_removed(finds, given, requests, settings):
    finds(("H",))
    engine = Askable()
    restored = restore(engine, ramp(100, 80, 3), **given, settings=settings)
    assert engine.requests == requests
    assert (restored > ramp(100, 80, 3)).any()


def test_the_arguments_win_over_the_settings(finds):
    finds(("H",))
    settings = Settings(remove="all", keep=("noise",))
    for given, requests in (
        ({}, [[0, 1, 1]]),
        ({"keep": ("haze",)}, [[1, 0, 1]]),
        ({"remove": "auto", "keep": ()}, [[0, 1, 0]]),
    ):
        engine = Askable()
        restore(engine, ramp(20, 20, 3), **given, settings=settings)
        assert engine.requests == requests


def test_the_second_attempt_in_fp32_is_asked_for_the_same(finds):
    class Unsound(Askable):
        precision = "bf16"

        def __init__(self):
            super().__init__()
            self.fp32 = Askable()

        def __call__(self, lq):
            return lq * float("nan")

        def in_fp32(self):
            return self.fp32

    finds(("J",))
    engine = Unsound()
    restore(engine, ramp(20, 20, 3))
    assert engine.requests == engine.fp32.requests == [[0, 0, 1]]


def test_a_photo_is_classified_only_where_that_decides(photos, tmp_path, monkeypatch):
    def never(*_arguments, **_options):
        raise AssertionError

    monkeypatch.setattr(removal_module, "find_degradations", never)
    monkeypatch.setattr(removal_module, "load_classifier", never)
    for remove in ("all", ("noise",)):
        settings = replace(TILED, remove=remove)
        outcomes = outcomes_of(Askable(), jobs_of(photos, tmp_path / str(remove)), settings)
        assert {one.found for one in outcomes} == {None}
        assert {one.removed for one in outcomes} == {KNOWN if remove == "all" else ("GN",)}


def test_an_error_of_the_classifier_fails_that_photo_alone(finds, photos, tmp_path, monkeypatch):
    finds(("GN",))
    find = removal_module.find_degradations

    def stumble(classifier, page, colour, *, orientation):
        if page.pixels.shape[1] == 24:
            raise RuntimeError("CUDA error: out of memory")
        return find(classifier, page, colour, orientation=orientation)

    monkeypatch.setattr(removal_module, "find_degradations", stumble)
    outcomes = outcomes_of(Askable(), jobs_of(photos, tmp_path / "out"))
    ends = {one.job.source.name: (one.status, one.reason) for one in outcomes}
    assert ends == {
        "0.png": ("restored", None),
        "1.png": ("failed", "CUDA error: out of memory"),
        "2.png": ("restored", None),
    }


def test_the_photo_is_classified_upright_in_its_colours_and_by_the_given_classifier(
    tmp_path, monkeypatch
):
    seen, colours = [], []

    def find(classifier, page, colour, *, orientation):
        seen.append((classifier, page.pixels.shape, orientation))
        colours.append(colour)
        return Found({}, ())

    monkeypatch.setattr(removal_module, "find_degradations", find)
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "a.jpg"
    Image.fromarray(ramp(40, 60, 3)).save(path, exif=exif, icc_profile=PROFILES["p3"][1])
    given = classifier()
    job = Job(tmp_path / "a.jpg", tmp_path / "out" / "a.jpg")
    outcomes_of(Askable(), [job], classifier=given)
    assert seen == [(given, (40, 60, 3), 6)]
    photo = read_photo(path, max_pixels=None)
    pixels = photo.pages[0].pixels
    assert np.array_equal(colours[0].to_srgb(pixels), photo.colour.to_srgb(pixels))
    assert not np.array_equal(colours[0].to_srgb(pixels), Colour().to_srgb(pixels))


@pytest.mark.parametrize(
    ("named", "side", "looks", "removal"),
    [
        ("RS", 600, 1, Removal((), ("RS",))),
        ("RS", 60, 0, Removal(("RS",))),
        ("H", 600, 0, Removal((), ("H",))),
        ("GN", 600, 0, Removal(("GN",))),
    ],
)
def test_a_large_photo_is_looked_at_for_a_named_type_of_either_scale(
    named, side, looks, removal, monkeypatch
):
    find = Mock(return_value=Found({}, ("RS",), frozenset({"RS"})))
    monkeypatch.setattr(removal_module, "find_degradations", find)
    settings = Settings(remove=(named,))
    remover = open_remover(askable("GN", "H", "RS"), settings, classifier(), device="cpu")
    found = remover.find(page_from_array(ramp(side, side, 3)), Colour(), orientation=1)
    assert (find.call_count, remover.decide(found)) == (looks, removal)
    assert remover.labels(found) is None


def test_the_default_classifier_finds_noise_and_the_network_is_asked_for_it():
    model = calm("nafnet-instruct", request_types=13)
    model.requests = removable(load_classifier().degradations)
    engine = open_engine(model, device="cpu", backend="torch")
    noisy = ramp(128, 128, 3) / 255 + np.random.default_rng(0).normal(0, 0.1, (128, 128, 3))
    noisy = (noisy.clip(0, 1) * 255).astype(np.uint8)
    assert np.array_equal(restore(engine, noisy), restore(engine, noisy, remove=("noise",)))
    assert np.array_equal(restore(engine, noisy, keep=("noise",)), noisy)
