"""The figures are pyiqa's own to the last printed digit, and those of independent programs."""

import numpy as np
import pyiqa
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from maskdcpt_cli.cli.score.report import DIGITS
from maskdcpt_cli.scoring.metrics import METRICS
from maskdcpt_cli.scoring.pairing import pair_files
from maskdcpt_cli.scoring.protocols import PROTOCOLS
from maskdcpt_cli.scoring.scorer import Item, Scorer
from maskdcpt_cli.scoring.separable_ssim import Separable, factorised
from tests.scoring.pairs import noisy, photograph, write

FREE = [name for name, metric in METRICS.items() if not metric.weights]
SIZE = {"width": 192, "height": 176}  # the smallest that ms_ssim takes


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("pairs")
    for number, sigma in enumerate((3, 40)):
        write(place / "gt" / f"{number}.png", photograph(number, **SIZE))
        restored = noisy(photograph(number, **SIZE), sigma)
        write(place / "restored" / f"{number}.png", restored)
    return place / "restored", place / "gt"


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_figures_are_those_of_pyiqa_to_the_last_printed_digit(folders, protocol, name):
    pairing = pair_files(*folders)
    theirs = pyiqa.create_metric(name, device="cpu", **protocol.options(name))
    for item, one in zip(
        pairing.items, Scorer([name], protocol=protocol).score(pairing.items), strict=True
    ):
        paths = [str(item.restored)] + [str(item.gt)] * METRICS[name].reference
        expected = theirs(*paths).item()
        assert f"{one.values[name]:.{DIGITS}f}" == f"{expected:.{DIGITS}f}"


def test_pyiqas_protocol_gives_what_its_command_gives(folders):
    pairing = pair_files(*folders)
    defaults = {name: pyiqa.create_metric(name, device="cpu") for name in ("psnr", "ssim")}
    scorer = Scorer(["psnr", "ssim"], protocol=PROTOCOLS["pyiqa"])
    for item, one in zip(pairing.items, scorer.score(pairing.items), strict=True):
        for name, theirs in defaults.items():
            expected = theirs(str(item.restored), str(item.gt)).item()
            assert one.values[name] == pytest.approx(expected, abs=1e-9)


def test_psnr_and_ssim_agree_with_scikit_image():
    gt = photograph(2, **SIZE)
    restored = noisy(gt, 12)
    (one,) = Scorer(["psnr", "ssim"]).score([Item("a", restored, gt)])
    ssim = structural_similarity(
        gt,
        restored,
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert one.values["psnr"] == pytest.approx(peak_signal_noise_ratio(gt, restored), abs=1e-3)
    assert one.values["ssim"] == pytest.approx(ssim, abs=1e-3)


def luma(pixels: np.ndarray) -> np.ndarray:
    """As MATLAB's rgb2ycbcr: ITU-R BT.601, 16 to 235, rounded."""
    return np.round(16 + pixels @ np.array([65.481, 128.553, 24.966]) / 255)


def test_restormers_protocol_measures_rounded_luma():
    gt = photograph(3, **SIZE)
    restored = noisy(gt, 12)
    scorer = Scorer(["psnr", "ssim"], protocol=PROTOCOLS["restormer-derain"])
    (one,) = scorer.score([Item("a", restored, gt)])
    pair = luma(gt), luma(restored)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    ssim = structural_similarity(*pair, data_range=255, **options)
    psnr = peak_signal_noise_ratio(*pair, data_range=255)
    assert one.values["psnr"] == pytest.approx(psnr, abs=1e-3)
    assert one.values["ssim"] == pytest.approx(ssim, abs=1e-3)


def test_a_border_is_cut_off_psnr_and_ssim_alone():
    gt = photograph(4, **SIZE)
    restored = gt.copy()
    restored[:4] = restored[:, -4:] = 0
    protocol = PROTOCOLS["maskdcpt"]._replace(border=4)
    (one,) = Scorer(["psnr", "ssim", "piqe"], protocol=protocol).score([Item("a", restored, gt)])
    assert one.values["psnr"] == pytest.approx(80)  # identical
    assert one.values["ssim"] == pytest.approx(1)
    (whole,) = Scorer(["piqe"], with_gt=False).score([Item("a", restored)])
    assert one.values["piqe"] == whole.values["piqe"]


def test_the_floor_under_the_squared_error_is_the_protocols():
    gt = photograph(5)
    figures = {}
    for name in ("maskdcpt", "basicsr"):
        (one,) = Scorer(["psnr"], protocol=PROTOCOLS[name]).score([Item("a", gt, gt)])
        figures[name] = one.values["psnr"]
    assert figures == pytest.approx({"maskdcpt": 80, "basicsr": 120}, abs=1e-3)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_a_protocol_says_what_was_measured(protocol):
    text = protocol._replace(border=7).describe()
    assert protocol.source in text
    assert "7 pixels cropped from each side" in text
    assert ("luma" in text) == (protocol.colour != "rgb")


@pytest.mark.parametrize("sides", [(11, 11), (7, 9)])
def test_a_gaussian_window_takes_two_passes(sides):
    column, row = (np.exp(-((np.arange(side) - side // 2) ** 2) / 4.5) for side in sides)
    window = torch.from_numpy(np.outer(column, row)).float().double()
    x = torch.rand(2, 3, 24, 30, dtype=torch.float64)
    windows = window.expand(3, 1, *sides)
    expected = torch.conv2d(x, windows, groups=3)
    with Separable():
        found = torch.conv2d(x, windows, stride=1, padding=0, groups=3)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    assert not torch.equal(found, expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda x, w: {"input": x, "weight": torch.rand_like(w)},
        lambda x, w: {"input": x, "weight": w * torch.tensor([1, 2, 3.0]).view(3, 1, 1, 1)},
        lambda x, w: {"input": x.float(), "weight": w.float()},
        lambda x, w: {"input": x, "weight": w, "padding": 5},
        lambda x, w: {"input": x, "weight": w, "stride": 2},
        lambda x, w: {"input": x, "weight": w[..., 4:7, 4:7]},
    ],
)
def test_any_other_convolution_is_pytorchs(change):
    gaussian = np.exp(-((np.arange(11) - 5) ** 2) / 4.5)
    windows = torch.from_numpy(np.outer(gaussian, gaussian)).expand(3, 1, 11, 11)
    given = change(torch.rand(1, 3, 20, 20, dtype=torch.float64), windows)
    x, weight = given.pop("input"), given.pop("weight")
    with Separable():
        found = torch.conv2d(x, weight, groups=3, **given)
    assert torch.equal(found, torch.conv2d(x, weight, groups=3, **given))


def test_a_window_that_is_no_product_has_no_factors():
    assert factorised(np.eye(11)) is None
