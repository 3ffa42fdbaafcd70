"""A classifier looks at a photo as it is and reduced, and finds one degradation or several."""

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from maskdcpt_cli import classify_files
from maskdcpt_cli.degradations import CLEAN
from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.images.reading import page_from_array
from maskdcpt_cli.inference import looking
from maskdcpt_cli.inference.classify import Classified, Found, classify, find_degradations
from maskdcpt_cli.inference.looking import REDUCED_PIXELS, reduce_page
from maskdcpt_cli.models.maskdcpt import Output
from maskdcpt_cli.weights.building import DegradationClassifier, pool_alternatives

LABELS = ("H", "RS", "GN")  # of the scene, of either, of the pixel
TILE = 128
PLAIN, LARGE = (400, 500), (1200, 1600)  # sides of a photo that is not reduced, and of one that is


class Contrast(nn.Module):
    """Logits of all labels from the contrast of single pixels; it records its inputs.

    A pattern of single pixels has a contrast that averaging removes.
    """

    def __init__(self, per_contrast: tuple[float, ...], bias: tuple[float, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(per_contrast, dtype=torch.float32))
        self.bias = torch.tensor(bias)
        self.backbone = nn.Identity()
        self.backbone.size_multiple = 8
        self.seen: list[Tensor] = []

    def forward(self, lq: Tensor) -> Output:
        self.seen += lq
        contrast = lq.diff(dim=3).abs().mean(dim=(1, 2, 3))
        return Output(None, contrast[:, None] * self.weight + self.bias)


def classifier(
    *, native: float, reduced: float, thresholds: dict[str, float] | None = None
) -> DegradationClassifier:
    """A classifier of these logits of all labels, of chequered photos as they are and reduced."""
    network = Contrast((native - reduced,) * 3, (reduced,) * 3)
    return DegradationClassifier(
        network, LABELS, 1.0, TILE, multi_label=True, thresholds=thresholds or {}
    )


def chequered(height: int, width: int) -> np.ndarray:
    board = np.indices((height, width)).sum(axis=0) % 2
    return np.repeat(board[..., None], 3, axis=2).astype(np.uint8) * 255


def found(which: DegradationClassifier, size: tuple[int, int]) -> Found:
    return find_degradations(which, page_from_array(chequered(*size)), Colour())


def test_each_type_is_judged_by_the_look_of_its_scale():
    one = found(classifier(native=2, reduced=-2), LARGE)
    assert (one.labels, one.reduced) == (("RS", "GN"), frozenset())
    likely, unlikely = (pytest.approx(value, abs=0.02) for value in (0.881, 0.119))
    assert one.probabilities == {"RS": likely, "GN": likely, "H": unlikely}
    one = found(classifier(native=-2, reduced=2), LARGE)
    assert one.labels == ("H", "RS")
    assert one.reduced == {"H", "RS"}
    assert one.probabilities["GN"] == unlikely


def test_a_look_must_exceed_the_threshold_and_the_reduced_one_be_as_sure():
    limits = {"H": 0.9, "RS": 0.8, "GN": 0.8}
    one = found(classifier(native=1.5, reduced=1.4, thresholds=limits), LARGE)
    assert (one.labels, one.reduced) == (("RS", "GN"), frozenset())
    one = found(classifier(native=1.4, reduced=1.5, thresholds=limits), LARGE)
    assert (one.labels, one.reduced) == (("RS", "GN"), {"RS"})
    exact = found(classifier(native=0, reduced=0), LARGE)  # 0.5 does not exceed 0.5
    assert exact.labels == ()


@pytest.mark.parametrize(
    ("probabilities", "pooled"),
    [
        ({"MB": 0.5, "DB": 0.2, "GB": 0.1}, {"MB": 0.8, "DB": 0.2, "GB": 0.1}),
        ({"GN": 0.3, "RN": 0.4, "GB": 0.3}, {"GN": 0.3, "RN": 0.7, "GB": 0.3}),
        ({"MB": 0.9, "GB": 0.8}, {"MB": 1.0, "GB": 0.8}),  # both of them
        ({"H": 0.5, "RS": 0.4, "S": 0.3, "MB": 0.2}, {"H": 0.5, "RS": 0.4, "S": 0.3, "MB": 0.2}),
    ],
)
def test_the_likeliest_kind_of_blur_or_noise_has_the_probability_of_all(probabilities, pooled):
    several = torch.tensor([[0.0] * len(probabilities), [*probabilities.values()]])
    nothing, one = pool_alternatives(several, list(probabilities))
    assert nothing.tolist() == [0] * len(probabilities)
    assert one.tolist() == pytest.approx(list(pooled.values()))


def test_blur_is_found_where_no_kind_of_it_is_likely_by_itself():
    labels, logits = ("MB", "H", "GB", "DB"), (-0.4, -3.0, -0.5, -3.0)  # 0.4, 0.05, 0.38, 0.05
    network = Contrast((0.0,) * 4, logits)
    which = DegradationClassifier(
        network, labels, 1.0, TILE, multi_label=True, thresholds=dict.fromkeys(labels, 0.75)
    )
    one = found(which, PLAIN)
    assert one.labels == ("MB",)
    assert one.probabilities["MB"] == pytest.approx(0.826, abs=0.002)


UNDECIDED, SURE = 0.0, 3.0  # logits


@pytest.mark.parametrize(
    ("native", "reduced", "labels", "at"),
    [
        ({"GN": SURE}, {"H": SURE + 1}, ("GN",), "native"),  # a type of single pixels comes first
        ({"RS": SURE}, {"RS": SURE + 1}, ("RS",), "reduced"),  # the look that is surer
        ({"RS": SURE + 1}, {"H": SURE}, ("RS",), "native"),
        ({}, {"H": SURE}, ("H",), "reduced"),
        ({}, {"RS": SURE}, ("RS",), "reduced"),
        ({}, {"GN": SURE}, (), "native"),  # a reduced photo does not show single pixels
        ({}, {"H": 1.0}, (), "native"),  # 0.58: it has to be surer than the photo as it is
    ],
)
def test_of_one_label_either_look_may_answer(native, reduced, labels, at):
    per_look = [[one.get(label, UNDECIDED) for label in LABELS] for one in (native, reduced)]
    network = Contrast(
        tuple(here - there for here, there in zip(*per_look, strict=True)), tuple(per_look[1])
    )
    which = DegradationClassifier(network, LABELS, 1.0, TILE)
    one = found(which, LARGE)
    assert (one.labels, one.uncertain) == (labels, not labels)
    assert one.reduced == (frozenset(labels) if at == "reduced" else frozenset())
    assert next(iter(one.probabilities)) == (*labels, *one.probabilities)[0]
    assert found(which, PLAIN).labels == tuple(native)


def test_a_small_photo_is_looked_at_once():
    which = classifier(native=2, reduced=-2)
    one = found(which, PLAIN)
    assert len(which.network.seen) == 4 * 4
    assert set(one.labels) == set(LABELS)
    assert one.reduced == {"H", "RS"}


def test_the_reduced_photo_is_averaged_and_covered_by_tiles():
    which = classifier(native=2, reduced=-2)
    found(which, LARGE)
    small = which.network.seen[63:]
    assert len(small) == 4 * 5
    assert all(tile[:, :, :TILE].std() < 0.1 for tile in small), "the pattern is averaged away"


@pytest.mark.parametrize("size", [(1200, 1600), (1, 3_000_000), (3_000_000, 1), (548, 549)])
def test_a_reduced_photo_has_at_most_so_many_pixels(size):
    page = reduce_page(page_from_array(np.full(size, 77, np.uint16)))
    height, width = page.pixels.shape[:2]
    assert 0.9 * REDUCED_PIXELS < height * width <= REDUCED_PIXELS
    assert (page.pixels == 77).all()


@pytest.mark.parametrize("size", [(547, 548), (1, 1)])
def test_a_photo_that_is_small_already_is_not_reduced(size):
    page = page_from_array(np.zeros(size, np.uint8))
    assert reduce_page(page) is page


def test_the_hidden_colours_of_transparent_pixels_have_no_part():
    image = np.full((700, 700, 4), 200, np.uint8)
    image[:, :350] = (0, 0, 0, 0)
    page = reduce_page(page_from_array(image))
    assert (page.pixels == 200).all()
    assert page.alpha is None


@pytest.mark.parametrize(
    ("labels", "answer"), [(("GN", "H"), "GN"), ((), CLEAN)], ids=["several", "none"]
)
def test_the_answer_is_the_likeliest_of_several_labels_or_clean(labels, answer):
    probabilities = {"RS": 0.7, "GN": 0.6, "H": 0.5}
    one = Classified(Path("a.png"), probabilities, labels=labels, multi_label=True)
    assert one.answer == answer
    assert Classified(Path("a.png"), {}, "broken", multi_label=True).answer is None


def test_files_have_the_labels_of_their_first_page(tmp_path):
    Image.fromarray(chequered(*PLAIN)).save(tmp_path / "a.png")
    (one,) = classify_files(classifier(native=2, reduced=-2), [tmp_path / "a.png"])
    assert (set(one.labels), one.multi_label) == (set(LABELS), True)
    assert list(one.probabilities) == list(
        classify(classifier(native=2, reduced=-2), chequered(8, 8))
    )


def test_a_map_shows_clean_where_no_label_is_above_its_threshold(tmp_path):
    image = np.full((512, 1024, 3), 90, np.uint8)
    image[:, 512:] = chequered(512, 512)
    Image.fromarray(image).save(tmp_path / "a.png")
    network = Contrast((0.0, 4.0, 0.0), (-9.0, -2.0, -9.0))  # rain where it is chequered
    which = DegradationClassifier(network, LABELS, 1.0, TILE, multi_label=True)
    target = tmp_path / "map.png"
    (one,) = classify_files(which, [tmp_path / "a.png"], maps={tmp_path / "a.png": target})
    assert one.reason is None
    sheet = np.asarray(Image.open(target)).astype(int)
    height, width = sheet.shape[:2]
    clean, rain = (sheet[height // 2, round(width * share)] for share in (0.6, 0.9))
    assert clean[1] > clean[2] + 50, "clean is green"
    assert rain[2] > rain[0] + 50, "rain is blue"


@pytest.mark.parametrize(("scene", "colour"), [(3.0, 1), (-3.0, 0)])
def test_what_is_of_the_scene_is_the_same_all_over_a_map(tmp_path, scene, colour):
    Image.fromarray(chequered(*LARGE)).save(tmp_path / "a.png")
    network = Contrast((-2 * scene, 0.0, 2.5), (scene, -9.0, -0.5))  # noise as it is: 2
    which = DegradationClassifier(network, LABELS, 1.0, TILE, multi_label=True)
    target = tmp_path / "map.png"
    (one,) = classify_files(which, [tmp_path / "a.png"], maps={tmp_path / "a.png": target})
    assert one.answer == ("H" if scene > 0 else "GN")
    sheet = np.asarray(Image.open(target)).astype(int)
    part = sheet[sheet.shape[0] // 2, round(sheet.shape[1] * 0.75)]
    assert part.argmax() == colour, "haze is teal, noise red"


def test_on_a_gpu_the_classifier_computes_in_fp32(monkeypatch):
    entered = []

    @contextmanager
    def noted(*, allowed):
        entered.append(allowed)
        yield

    monkeypatch.setattr(looking, "tf32", noted)
    network, tiles = Contrast((0, 0, 0), (0.0, 0.0, 0.0)), torch.rand(1, 3, 16, 16)
    gpu = SimpleNamespace(type="cuda")
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, _device: tensor)
    assert looking._logits(network, tiles, gpu).shape[0] == 1
    assert entered == [False]
