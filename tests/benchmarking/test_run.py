"""Test sets restored and measured: events, cached results, and errors that do not stop the run."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskdcpt_cli.benchmarking.examples import find_examples
from maskdcpt_cli.benchmarking.result_cache import FILE, ResultCache
from maskdcpt_cli.benchmarking.run import (
    BenchmarkSettings,
    ImageFailed,
    ImageScored,
    SetFinished,
    SetStarted,
    measure,
)
from maskdcpt_cli.benchmarking.test_sets import (
    from_photos,
    from_preset,
    key,
    sample_name,
    title,
)
from maskdcpt_cli.data.sets import from_pairs
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.inference import networks
from maskdcpt_cli.inference.events import Settings
from maskdcpt_cli.inference.networks import NetworkRestore, open_network
from maskdcpt_cli.presets.load import load_data
from maskdcpt_cli.scoring.events import Unavailable
from maskdcpt_cli.weights.building import DegradationClassifier
from maskdcpt_cli.weights.zoo import load_model
from tests.benchmarking.layouts import Counting, crops, lay_out, only, run
from tests.datasets import save
from tests.inference.brighten import Askable, askable
from tests.small import small

SIGMAS = (15, 25, 50, 60, 75)


def test_the_figure_of_a_set_is_the_mean_over_its_images(pairs, tmp_path):
    sets = from_pairs([pairs])
    events = run(sets, tmp_path / "out", metrics=("psnr", "ssim"))
    scored, (finished,) = only(events, ImageScored), only(events, SetFinished)
    assert [one.name for one in scored] == [f"lq/{number}.png" for number in range(4)]
    for metric in ("psnr", "ssim"):
        mean = np.mean([one.values[metric] for one in scored])
        assert finished.result.figures[metric] == pytest.approx(mean)
    assert (finished.result.images, finished.result.complete) == (4, True)
    assert title(sets[0]) == "rain/lq"


def test_a_network_restores_what_is_measured(pairs, tmp_path):
    network = open_network(load_model(), device="cpu", backend="torch")
    through_network = run(from_pairs([pairs]), tmp_path / "a", network.restore, limit=1)
    as_they_are = run(from_pairs([pairs]), tmp_path / "b", limit=1)
    assert only(through_network, ImageScored)[0].values != only(as_they_are, ImageScored)[0].values
    assert "fp32" in network.description


@pytest.mark.parametrize(
    ("degradation", "asked"),
    [
        ("H", ("H",)),
        ("RSD", ("RS", "RD")),
        ("DS+GN+GB+J", ("GN", "J")),
        ("clean", ()),
        ("MS", "all"),
        (None, "all"),
    ],
)
def test_a_network_is_asked_for_what_a_set_has(degradation, asked):
    engine = Askable()
    engine.model.requests = ("GN", "J", "H", "RS", "RD")
    restore = NetworkRestore(engine, Settings(remove="all"))
    assert restore.removing(degradation).settings.remove == asked
    engine.model.requests = ()
    assert restore.removing(degradation).settings.remove == "all"


def test_each_set_asks_for_its_own_degradation(pairs, clean, tmp_path):
    engine = Askable()
    restore = NetworkRestore(engine, Settings(remove="all"))
    run(from_photos(load_data("denoise"), clean)[:1], tmp_path / "a", restore, limit=1)
    run(from_pairs([pairs]), tmp_path / "b", restore, limit=1)
    assert engine.requests == [[1, 0, 0], [1, 1, 1]]


def test_sets_that_are_missing_do_not_stop_the_others(tmp_path):
    lay_out(tmp_path, "derain")
    (tmp_path / "Rain100H" / "input").rename(tmp_path / "elsewhere")
    events = run(from_preset(load_data("derain"), tmp_path), tmp_path / "out")
    finished = {one.result.info.name: one for one in only(events, SetFinished)}
    assert list(finished) == ["Rain100L", "Rain100H", "Test100", "Test1200", "Test2800"]
    assert "there is no Rain100H/input in" in finished["Rain100H"].reason
    assert str(tmp_path) in finished["Rain100H"].reason
    assert [bool(one.result.figures) for one in finished.values()] == [
        True,
        False,
        True,
        True,
        True,
    ]
    assert not finished["Rain100L"].result.complete  # it has 100 images


def test_an_image_that_cannot_be_read_does_not_stop_the_others(pairs, tmp_path):
    (pairs[0] / "1.png").write_bytes(b"not an image")
    save(pairs[0] / "2.png", crops()[0][:32])
    events = run(from_pairs([pairs]), tmp_path / "out")
    failed, (finished,) = only(events, ImageFailed), only(events, SetFinished)
    assert [one.name for one in failed] == ["lq/1.png", "lq/2.png"]
    assert "it is not an image" in failed[0].reason
    assert "64x32 pixels" in failed[1].reason
    assert (finished.result.images, finished.result.failed) == (2, 2)
    assert not finished.result.complete


def test_a_network_that_fails_on_one_image_does_not_stop(pairs, tmp_path):
    calls = []

    def restore(lq):
        calls.append(lq)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return lq

    events = run(from_pairs([pairs]), tmp_path / "out", restore)
    assert [one.reason for one in only(events, ImageFailed)] == ["out of memory"]
    assert len(only(events, ImageScored)) == 3


def test_a_set_of_which_nothing_can_be_measured_is_reported(pairs, tmp_path):
    for path in pairs[0].iterdir():
        path.write_bytes(b"")
    (finished,) = only(run(from_pairs([pairs]), tmp_path / "out"), SetFinished)
    assert finished.reason == "none of its 4 images could be measured"


def test_a_run_that_was_stopped_goes_on(pairs, tmp_path):
    sets, restore = from_pairs([pairs]), Counting()
    settings = BenchmarkSettings(tmp_path / "out", metrics=("psnr",), jobs=1)
    events = measure(sets, restore, settings, ResultCache(settings.folder, made_by="me"))
    while not isinstance(next(events), ImageScored):
        pass
    events.close()
    kept = len((tmp_path / "out" / FILE).read_text().splitlines())
    assert 1 <= kept < 4
    rest = Counting()
    events = run(sets, tmp_path / "out", rest)
    assert only(events, SetStarted)[0].cached == kept
    assert rest.count == 4 - kept
    assert len(only(events, ImageScored)) == 4
    assert only(events, SetFinished) == only(run(sets, tmp_path / "new"), SetFinished)


def test_only_what_changed_is_done_again(pairs, tmp_path):
    run(from_pairs([pairs]), tmp_path / "out")
    with (tmp_path / "out" / FILE).open("a") as file:
        file.write('{"set": "rain", "na')  # cut short by a crash
    save(pairs[0] / "3.png", crops(4)[3])
    restore = Counting()
    (finished,) = only(run(from_pairs([pairs]), tmp_path / "out", restore), SetFinished)
    assert restore.count == 1
    assert finished == only(run(from_pairs([pairs]), tmp_path / "new"), SetFinished)[0]
    again = Counting()
    run(from_pairs([pairs]), tmp_path / "out", again)
    assert again.count == 0


def test_a_metric_more_is_measured_anew(pairs, tmp_path):
    run(from_pairs([pairs]), tmp_path / "out")
    restore = Counting()
    (finished,) = only(
        run(from_pairs([pairs]), tmp_path / "out", restore, metrics=("psnr", "ssim")), SetFinished
    )
    assert restore.count == 4
    assert set(finished.result.figures) == {"psnr", "ssim"}


def test_results_of_other_weights_are_not_mixed_in(pairs, tmp_path):
    run(from_pairs([pairs]), tmp_path / "out")
    with pytest.raises(MaskDCPTError, match="holds results of other weights, settings or plugins"):
        run(from_pairs([pairs]), tmp_path / "out", made_by="another")


def test_weights_and_settings_have_fingerprints_of_their_own():
    model = small("nafnet")
    opened = partial(open_network, device="cpu", backend="torch")
    first = opened(model).fingerprint
    assert opened(model).fingerprint == first
    assert opened(model, tile=64).fingerprint != first
    assert opened(model, precision="bf16").fingerprint != first
    with_other_weights = small("nafnet", width=16)
    assert opened(with_other_weights).fingerprint != first


def test_results_name_the_classifier_that_decides_where_a_named_type_is_removed(monkeypatch):
    opened = partial(open_network, device="cpu", backend="torch")
    of_any_scale, of_pixels = askable("GN", "RS", "J"), askable("GN", "J", "MS")
    before = [opened(model).fingerprint for model in (of_any_scale, of_pixels)]
    other = DegradationClassifier(small("nafnet"), ("GN", "RS", "J", "clean"))
    monkeypatch.setattr(networks, "default_classifier", lambda _device: other)
    after = [opened(model).fingerprint for model in (of_any_scale, of_pixels)]
    assert [one == two for one, two in zip(before, after, strict=True)] == [False, True]


def test_the_first_image_can_be_taken(clean, tmp_path):
    sets = from_photos(load_data("denoise"), clean)[:1]
    (finished,) = only(run(sets, tmp_path / "out", limit=3), SetFinished)
    assert (finished.result.images, finished.result.expected) == (3, 4)
    assert not finished.result.complete


def test_restored_image_are_written_only_when_asked_for(pairs, tmp_path):
    run(from_pairs([pairs]), tmp_path / "a")
    run(from_pairs([pairs]), tmp_path / "b", save_images=True)
    assert not (tmp_path / "a" / "restored").exists()
    written = sorted((tmp_path / "b" / "restored" / "rain-lq" / "lq").iterdir())
    assert [path.name for path in written] == [f"{number}.png" for number in range(4)]
    np.testing.assert_array_equal(Image.open(written[0]), Image.open(pairs[0] / "0.png"))


def test_examples_show_where_the_restoration_differs_most(tmp_path):
    wide = np.zeros((200, 800, 3), np.uint8)
    save(tmp_path / "p" / "gt" / "a.png", wide + 9)
    save(tmp_path / "p" / "lq" / "a.png", wide)

    def restore(lq):
        restored = lq.copy()
        restored[:, 700:] = 1
        return restored

    (testset,) = from_pairs([(tmp_path / "p" / "lq", tmp_path / "p" / "gt")])
    run([testset], tmp_path / "out", restore)
    (example,) = find_examples(tmp_path / "out", key(testset), [sample_name(testset, 0)])
    parts = [np.asarray(Image.open(file)) for file in example.files]
    assert [part.shape for part in parts] == [(192, 192, 3)] * 3
    assert [int(part[0, -1, 0]) for part in parts] == [0, 255, 9]


def test_examples_are_those_of_the_images_they_name(pairs, tmp_path):
    run(from_pairs([pairs]), tmp_path / "out")
    for folder in pairs:
        (folder / "0.png").unlink()
    (testset,) = from_pairs([pairs])
    run([testset], tmp_path / "out")
    names = [sample_name(testset, index) for index in range(3)]
    found = find_examples(tmp_path / "out", key(testset), names)
    assert [example.name for example in found] == names[:2]
    for example in found:
        crop, whole = (
            np.asarray(Image.open(one))
            for one in (example.files[0], pairs[0].parent / example.name)
        )
        assert holds(whole, crop)


def test_restored_images_are_written_when_they_are_asked_for_later(pairs, tmp_path):
    run(from_pairs([pairs]), tmp_path / "out")
    run(from_pairs([pairs]), tmp_path / "out", save_images=True)
    assert len(list((tmp_path / "out" / "restored" / "rain-lq" / "lq").iterdir())) == 4
    restore = Counting()
    run(from_pairs([pairs]), tmp_path / "out", restore, save_images=True)
    assert restore.count == 0


def holds(whole: np.ndarray, crop: np.ndarray) -> bool:
    windows = np.lib.stride_tricks.sliding_window_view(whole, crop.shape)
    return bool((windows == crop).all(axis=(-1, -2, -3)).any())


def test_image_without_clean_ones_are_measured_without(tmp_path):
    lay_out(tmp_path, "real-world", count=1)
    sets = [one for one in from_preset(load_data("real-world"), tmp_path) if one.blind][:2]
    usual = only(run(sets, tmp_path / "a", metrics=()), SetFinished)
    assert [set(one.result.figures) for one in usual] == [{"piqe"}, {"piqe"}]
    lacking = only(run(sets, tmp_path / "b", metrics=("psnr", "ssim")), SetFinished)
    assert [one.reason for one in lacking] == ["it has no ground truth, which psnr, ssim need"] * 2


class Opener:
    """In place of pyiqa: a metric over sets, and one whose weights are out of reach."""

    def __init__(self) -> None:
        self.measured = 0

    def __call__(self, name: str, **_: object) -> Callable[..., float] | Unavailable:
        if name == "lpips":
            return Unavailable(name, "lpips needs weights that could not be downloaded.")
        return self.fid if name == "fid" else lambda *_pair: 30.0

    def fid(self, restored: str, _gt: str, **_: object) -> float:
        self.measured += 1
        return float(sum(1 for _ in Path(restored).iterdir()))


@pytest.fixture
def opener(monkeypatch) -> Opener:
    opener = Opener()
    monkeypatch.setattr("maskdcpt_cli.scoring.scorer.open_metric", opener)
    return opener


def test_metrics_that_are_out_of_reach_do_not_stop_the_others(opener, pairs, tmp_path):
    events = run(from_pairs([pairs]), tmp_path / "out", metrics=("psnr", "lpips"))
    assert [one.metric for one in only(events, Unavailable)] == ["lpips"]
    assert only(events, SetFinished)[0].result.figures == {"psnr": 30.0}
    restore = Counting()
    run(from_pairs([pairs]), tmp_path / "out", restore, metrics=("psnr", "lpips"))
    assert restore.count == 0


def test_a_metric_of_all_image_is_kept_with_its_set(opener, pairs, tmp_path):
    metrics = ("psnr", "fid")
    for _ in range(2):
        events = run(from_pairs([pairs]), tmp_path / "out", metrics=metrics)
        (finished,) = only(events, SetFinished)
        assert finished.result.figures == {"psnr": 30.0, "fid": 4.0}
        assert not only(events, Unavailable)
    assert opener.measured == 1
    (tmp_path / "out" / "examples").rename(tmp_path / "elsewhere")  # two are restored again
    (finished,) = only(run(from_pairs([pairs]), tmp_path / "out", metrics=metrics), SetFinished)
    assert finished.result.figures == {"psnr": 30.0, "fid": 4.0}
    (finished,) = only(
        run(from_pairs([pairs]), tmp_path / "out", metrics=metrics, limit=2), SetFinished
    )
    assert finished.result.figures == {"psnr": 30.0, "fid": 2.0}


def test_a_cache_of_an_earlier_version_is_read(tmp_path):
    line = '{"set": "rain", "name": "lq/0.png", "psnr": 31.5, "state": [7, 8], "made_by": "me"}'
    (tmp_path / FILE).write_text(f"{line}\n", encoding="ascii")
    cache = ResultCache(tmp_path, made_by="me")
    assert cache.find("rain", "lq/0.png", (7, 8), ("psnr",)) == {"psnr": 31.5}
    assert cache.find("rain", "lq/0.png", (7, 9), ("psnr",)) is None


def test_results_can_be_read_by_other_programs(pairs, tmp_path):
    run(from_pairs([pairs]), tmp_path / "out")
    lines = (tmp_path / "out" / FILE).read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == [f"lq/{n}.png" for n in range(4)]
    assert all(json.loads(line)["psnr"] > 0 for line in lines)
