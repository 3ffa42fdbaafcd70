import math
import threading
from pathlib import Path

import numpy as np
import pyiqa
import pytest
import torch
from PIL import Image

import maskdcpt_cli
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.images.reader import PhotoReader
from maskdcpt_cli.images.reading import Photo, read_photo
from maskdcpt_cli.scoring import scorer as scorer_module
from maskdcpt_cli.scoring.metrics import METRICS, find_metric, find_metrics
from maskdcpt_cli.scoring.pairing import pair_files
from maskdcpt_cli.scoring.protocols import PROTOCOLS
from maskdcpt_cli.scoring.scorer import Item, Scorer, Unavailable, score
from maskdcpt_cli.scoring.summary import interval
from tests.scoring.pairs import noisy, photograph, two_folders, write


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return two_folders(tmp_path_factory.mktemp("pairs"), pairs=5)


@pytest.fixture
def faked(monkeypatch):
    """Replace pyiqa's metrics by functions of tensors."""

    def fake(**functions) -> None:
        monkeypatch.setattr(pyiqa, "create_metric", lambda name, **_: functions[name])

    return fake


def mean_of(x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
    return x.mean()


def test_images_come_in_order_whatever_the_number_of_threads(folders):
    items = pair_files(*folders).items
    runs = [score(items, jobs=jobs).images for jobs in (1, 3)]
    assert runs[0] == runs[1]
    assert [one.name for one in runs[0]] == [f"{number}.png" for number in range(5)]
    psnr = [one.values["psnr"] for one in runs[0]]
    assert psnr == sorted(psnr, reverse=True)  # noise grows with the number
    assert all(one.values.keys() == {"psnr", "ssim"} for one in runs[0])


def test_files_and_arrays_give_the_same_figures(folders):
    items = pair_files(*folders).items
    arrays = [
        Item(item.name, *(np.asarray(Image.open(path)) for path in (item.restored, item.gt)))
        for item in items
    ]
    assert score(items) == score(arrays)


def test_without_ground_truth_piqe_is_measured(folders):
    ones = maskdcpt_cli.score(maskdcpt_cli.pair_files(str(folders[0])).items).images
    assert {tuple(one.values) for one in ones} == {("piqe",)}


def test_one_bad_file_stops_no_other(tmp_path):
    restored, gt = two_folders(tmp_path)
    (restored / "0.png").write_bytes(b"no image")
    write(restored / "1.png", photograph(1)[:20])
    ones = score(pair_files(restored, gt).items).images
    assert "0.png cannot be read: it is not an image" in ones[0].problem
    assert ones[1].problem.startswith("The restored image is 48x20 pixels")
    assert [one.values.keys() for one in ones] == [set(), set(), {"psnr", "ssim"}]


def test_a_metric_that_fails_on_an_image_stops_no_other(folders):
    tiny = photograph(0)[:9, :9]
    items = [Item("tiny", tiny, tiny), Item("b", photograph(1), photograph(1))]
    one, other = score(items).images
    assert one.values.keys() == {"psnr"}
    assert one.failed["ssim"].startswith("ssim could not be measured: ")
    assert other.values.keys() == {"psnr", "ssim"}
    assert other.failed == {}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_no_figure(faked, value):
    faked(piqe=lambda _: torch.tensor(value))
    (one,) = score([Item("a", photograph(0))]).images
    assert one.values == {}
    assert one.failed == {"piqe": f"piqe could not be measured: its value is {value}."}


def test_a_ground_truth_of_many_is_read_once(folders, monkeypatch):
    read = []

    def reading(_reader: PhotoReader, path: Path, **options: object) -> Photo:
        read.append(path)
        return read_photo(path, **options)

    monkeypatch.setattr(PhotoReader, "read", reading)
    restored, gt = folders
    score(pair_files(restored, gt / "1.png").items, ["psnr"], jobs=1)
    assert read.count(gt / "1.png") == 1


def test_every_thread_has_metrics_of_its_own(faked):
    """pyiqa's PIQE keeps its last result in itself, and returns it from there."""

    class Keeping:
        def __init__(self) -> None:
            self.entered = threading.Lock()

        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            assert self.entered.acquire(blocking=False), "two threads are in one metric"
            try:
                return mean_of(x)
            finally:
                self.entered.release()

        def __deepcopy__(self, memo: object) -> "Keeping":
            return Keeping()

    faked(piqe=Keeping())
    items = [Item(str(number), photograph(number)) for number in range(24)]
    assert all(one.values for one in score(items, jobs=4).images)


def test_a_protocol_may_be_named(folders):
    items = pair_files(*folders).items
    named, given = (
        score(items, ["psnr"], protocol=one) for one in ("basicsr", PROTOCOLS["basicsr"])
    )
    assert named.means == given.means
    with pytest.raises(MaskDCPTError, match="Unknown protocol 'basicrs'"):
        score(items, ["psnr"], protocol="basicrs")


def test_the_callers_threads_are_as_before(folders):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        score(pair_files(*folders).items, ["psnr"], jobs=3)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_closing_the_generator_stops_the_work(faked):
    measured = []
    faked(piqe=lambda x: (measured.append(1), mean_of(x))[1])
    items = [Item(str(number), photograph(number)) for number in range(50)]
    events = Scorer(["piqe"], with_gt=False, jobs=1).score(items)
    next(events)
    events.close()
    assert len(measured) < 10


def test_metrics_over_the_set_see_every_image_once(faked):
    seen = {}

    def fid(restored: str, gt: str, **options: object) -> float:
        assert options == {"num_workers": 0, "verbose": False}
        for side, folder in (("restored", restored), ("gt", gt)):
            paths = sorted(Path(folder).iterdir())
            seen[side] = [np.asarray(Image.open(path)) for path in paths]
        return 12.5

    faked(fid=fid, psnr=mean_of)
    clean = photograph(0)
    restored = [noisy(clean, sigma) for sigma in (5, 10, 20)]
    items = [Item(str(number), array, clean) for number, array in enumerate(restored)]
    result = score([*items, Item("bad", clean[:9], clean)], ["fid", "psnr"], jobs=1)
    assert [tuple(one.values) for one in result.images] == [("psnr",)] * 3 + [()]
    assert result.means["fid"] == 12.5
    assert result.means.keys() == {"fid", "psnr"}
    assert result.intervals.keys() == {"psnr"}
    assert result.unavailable == ()
    np.testing.assert_array_equal(seen["restored"], restored)
    assert len(seen["gt"]) == 3  # arrays are not known to be one image


def test_a_ground_truth_of_many_counts_once_in_the_set(faked, folders):
    counted = []
    faked(fid=lambda *places, **_: counted.extend(map(files, places)) or 1.0)
    few = [folders[1] / f"{number}.png" for number in (0, 1, 1, 1, 0)]
    items = pair_files(*folders).items
    several = [item._replace(gt=gt) for item, gt in zip(items, few, strict=True)]
    assert len(score(several, ["fid"]).images) == 5
    assert counted == [5, 2]


def files(place: str) -> int:
    return len(list(Path(place).iterdir()))


def test_a_result_has_the_values_their_means_and_their_intervals(folders):
    result = score(pair_files(*folders).items, ["ssim", "psnr"])
    assert list(result.means) == list(result.intervals) == ["ssim", "psnr"]
    for metric, mean in result.means.items():
        values = np.array([one.values[metric] for one in result.images])
        assert mean == values.mean()
        assert result.intervals[metric] == interval(values)
        assert values.min() <= result.intervals[metric].low < mean


def test_a_result_names_the_metrics_that_could_not_be_opened(monkeypatch, folders):
    monkeypatch.setattr(
        scorer_module, "open_metric", lambda name, **_: Unavailable(name, "No network.")
    )
    result = score(pair_files(*folders).items, ["psnr"])
    assert result.means == {}
    assert result.unavailable == (Unavailable("psnr", "No network."),)
    assert len(result.images) == 5


def test_a_set_of_one_is_too_small_and_that_is_reported(faked):
    faked(fid=lambda *_, **__: 1.0, psnr=mean_of)
    scorer = Scorer(["fid", "psnr"])
    assert len(list(scorer.score([Item("a", photograph(0), photograph(0))]))) == 1
    assert scorer.over_set == {}
    assert scorer.unavailable == (
        Unavailable("fid", "fid could not be measured: it needs 2 or more images on each side."),
    )


def test_a_scorer_scores_one_set_after_another(folders):
    scorer = Scorer(["psnr"])
    items = pair_files(*folders).items
    assert list(scorer.score(items)) == list(scorer.score(items))


@pytest.mark.parametrize("name", METRICS)
def test_the_table_says_of_a_metric_what_pyiqa_says(name):
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

    facts, metric = DEFAULT_CONFIGS[name], METRICS[name]
    assert metric.higher_is_better == (not facts.get("lower_better", False))
    assert metric.reference == (facts["metric_mode"] == "FR" or metric.over_set)


def test_any_other_metric_of_pyiqa_is_known_from_its_registry():
    assert find_metric("gmsd")[:2] == (True, False)
    assert find_metric("sfid").over_set
    assert find_metric("entropy")[:2] == (False, True)


@pytest.mark.parametrize("name", ["pnsr", "inception_score"])
def test_an_unknown_metric_is_an_error_that_helps(name):
    with pytest.raises(MaskDCPTError, match=f"Unknown metric '{name}'.*`pyiqa --list_models`"):
        find_metric(name)


def test_a_comparison_without_ground_truth_says_what_to_type():
    with pytest.raises(MaskDCPTError) as error:
        find_metrics(["psnr", "niqe", "lpips"], with_gt=False)
    assert str(error.value) == (
        "psnr and lpips need a ground truth: give its folder as second argument, as "
        "`maskdcpt score PRED GT`, or type --metrics niqe."
    )


def test_metrics_of_single_images_need_no_temporary_folder(monkeypatch):
    def full(**_options) -> None:
        raise OSError("No usable temporary directory found")

    monkeypatch.setattr(scorer_module, "TemporaryDirectory", full)
    (scored,) = Scorer(["psnr"]).score([Item("a", photograph(0), photograph(0))])
    assert scored.values["psnr"] > 70
