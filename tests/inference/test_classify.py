import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from maskdcpt_cli import classify_files
from maskdcpt_cli.degradations import CLEAN
from maskdcpt_cli.errors import CheckpointError, ImageError
from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.images.reading import page_from_array
from maskdcpt_cli.inference.classify import (
    MAX_PIXELS,
    UNCERTAIN,
    Classified,
    classify,
    find_degradations,
)
from maskdcpt_cli.inference.looking import tile_positions
from maskdcpt_cli.models import BACKBONES
from maskdcpt_cli.models.maskdcpt import MaskDCPT, Output
from maskdcpt_cli.weights.building import DegradationClassifier, build_classifier
from maskdcpt_cli.weights.checkpoint import Checkpoint
from tests.small import SMALL, small

LABELS = ("LL", "GN", CLEAN)
TILE = 128


class Means(nn.Module):
    """A classifier of black as LL, red as GN, green as clean; it records its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[-1.0, -1, -1], [1, -1, -1], [-1, 1, -1]]))
        self.backbone = nn.Identity()
        self.backbone.size_multiple = 8
        self.seen: list[Tensor] = []

    def forward(self, lq: Tensor) -> Output:
        self.seen += lq
        logits = lq.mean(dim=(2, 3)) @ self.weight.T + torch.tensor([0.5, 0, 0])
        return Output(None, 3 * logits)


def means(temperature: float | None = None, crop_size: int = TILE) -> DegradationClassifier:
    return DegradationClassifier(Means(), LABELS, temperature, crop_size)


def painted(height: int, width: int, colour: tuple[int, int, int] = (255, 0, 0)) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def saved(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def test_probabilities_come_with_the_likeliest_first():
    found = classify(means(), painted(16, 16))
    assert list(found) == ["GN", "LL", CLEAN]
    assert sum(found.values()) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(32, 48), (32, 48, 1), (32, 48, 2), (32, 48, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_kind_of_image_is_classified(shape, dtype):
    assert set(classify(means(), np.zeros(shape, dtype))) == set(LABELS)


def test_another_array_is_refused():
    with pytest.raises(ImageError, match="Cannot take an array of shape"):
        classify(means(), np.zeros((4, 4, 7), np.uint8))


@pytest.mark.parametrize("tile", [TILE, 192])
@pytest.mark.parametrize("size", [(1, 1), (7, 300), (127, 129), (500, 333)])
def test_pixels_are_never_resized_and_tiles_are_as_large_as_what_was_learnt_from(size, tile):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    classifier = means(crop_size=tile)
    classify(classifier, image)
    rows, columns = tile_positions(size, tile=tile, step=tile, max_pixels=MAX_PIXELS)
    first = classifier.network.seen[0].mul(255).round().byte().permute(1, 2, 0).numpy()
    height, width = (min(tile, length) for length in size)
    assert first.shape == (-(-height // 8) * 8, -(-width // 8) * 8, 3)
    assert np.array_equal(first[:height, :width], image[:height, :width])
    assert len(classifier.network.seen) == len(rows) * len(columns)


@pytest.mark.parametrize("size", [(128, 128), (129, 700), (768, 512), (1000, 1000)])
def test_tiles_cover_a_photo_of_ordinary_size(size):
    found = tile_positions(size, tile=TILE, step=TILE, max_pixels=MAX_PIXELS)
    for starts, length in zip(found, size, strict=True):
        assert starts[0] == 0
        assert all(after - before <= TILE for before, after in pairwise(starts))
        assert length - 16 < starts[-1] + TILE <= length


@pytest.mark.parametrize("size", [(4000, 6000), (128, 100_000), (100_000, 64), (9000, 9000)])
@pytest.mark.parametrize("most", [1, 7, 64])
@pytest.mark.parametrize("tile", [TILE, 256])
def test_the_work_for_a_large_photo_is_bounded_and_spread_over_all_of_it(size, most, tile):
    rows, columns = tile_positions(size, tile=tile, step=tile, max_pixels=most * tile**2)
    assert most / 3 <= len(rows) * len(columns) <= most
    for starts, length in zip((rows, columns), size, strict=True):
        assert all(start % 16 == 0 for start in starts)
        assert len(starts) < 3 or starts[-1] > 0.9 * (length - tile) - 16
        if len(starts) == 1 and length > tile:
            assert abs(starts[0] - (length - tile) / 2) <= 16


def test_a_photo_smaller_than_the_largest_tile_is_classified_in_one_tile():
    assert tile_positions((64, 64), tile=9999, step=9999, max_pixels=MAX_PIXELS) == ([0], [0])


def test_the_mean_over_tiles_decides():
    image = np.concatenate([painted(128, 128 * 3, (255, 0, 0)), painted(128, 128, (0, 255, 0))], 1)
    for part, first in ((image, "GN"), (image[:, :128], "GN"), (image[:, 384:], CLEAN)):
        assert next(iter(classify(means(), part))) == first


@pytest.mark.parametrize(("temperature", "how"), [(0.5, "surer"), (4.0, "less sure")])
def test_the_temperature_changes_how_sure_an_answer_is_and_not_which(temperature, how):
    plain, calibrated = (classify(means(t), painted(16, 16)) for t in (None, temperature))
    assert list(plain) == list(calibrated)
    assert (calibrated["GN"] > plain["GN"]) == (how == "surer")


@pytest.mark.parametrize(
    ("probabilities", "answer"),
    [
        ({"GN": 0.5, "LL": 0.3, CLEAN: 0.2}, "GN"),
        ({"GN": 0.49, "LL": 0.31, CLEAN: 0.2}, UNCERTAIN),
        ({CLEAN: 0.9, "GN": 0.1}, CLEAN),
        ({}, None),
    ],
)
def test_an_answer_needs_half_of_the_probability(probabilities, answer):
    assert Classified(Path("a.png"), probabilities).answer == answer


def test_a_photo_is_classified_upright(tmp_path):
    """Rain falls down: EXIF's 6 lies on its side in the file."""
    pixels = np.zeros((64, 32, 3), np.uint8)
    pixels[:8] = 255
    exif = Image.Exif()
    exif[0x112] = 6
    path = saved(tmp_path / "a.png", pixels, exif=exif)
    classifier = means()
    list(classify_files(classifier, [path]))
    (seen,) = classifier.network.seen
    assert seen.shape == (3, 32, 64)
    assert (seen[:, :, -8:] == 1).all()
    assert (seen[:, :, :-8] == 0).all()


def test_one_bad_file_never_stops_the_others(tmp_path):
    good = [saved(tmp_path / name, painted(20, 20)) for name in ("a.png", "c.jpg")]
    broken, huge = tmp_path / "b.png", saved(tmp_path / "d.png", painted(40, 40))
    broken.write_bytes(good[0].read_bytes()[:50])
    results = list(classify_files(means(), [good[0], broken, huge, good[1]], max_pixels=1000))
    assert [one.answer for one in results] == ["GN", None, None, "GN"]
    assert "b.png cannot be read" in results[1].reason
    assert "lift it with --max-pixels" in results[2].reason


def test_what_runs_out_of_memory_fails_alone(tmp_path):
    class Exhausted(Means):
        def forward(self, lq: Tensor) -> Output:
            if lq.mean() > 0.5:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().forward(lq)

    paths = [
        saved(tmp_path / f"{name}.png", painted(16, 16, (name, name, name))) for name in (255, 0)
    ]
    classifier = DegradationClassifier(Exhausted(), LABELS)
    failed, fine = classify_files(classifier, paths)
    why = "There is not enough memory on 'cpu' to classify the photo."
    assert failed.reason == f"{paths[0]}: {why}"
    assert fine.answer == "LL"


def test_where_memory_runs_out_fewer_tiles_are_looked_at_at_a_time():
    class Small(Means):
        def forward(self, lq: Tensor) -> Output:
            if len(lq) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().forward(lq)

    image = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
    few, many = (
        classify(DegradationClassifier(network, LABELS), image) for network in (Small(), Means())
    )
    assert few == many


def test_a_classifier_of_damaged_weights_fails_the_photo(tmp_path):
    class Damaged(Means):
        def forward(self, lq: Tensor) -> Output:
            output = super().forward(lq)
            return output._replace(logits=output.logits * torch.nan)

    path = saved(tmp_path / "a.png", painted(16, 16, (9, 9, 9)))
    (one,) = classify_files(DegradationClassifier(Damaged(), LABELS), [path])
    assert "gives no finite values" in (one.reason or "")


def test_an_error_of_opencv_fails_that_photo_alone(tmp_path, monkeypatch):
    def fill(page):
        if page.pixels.mean() > 200:
            raise cv2.error("(-4:Insufficient memory) Failed to allocate 1 bytes")
        return page.pixels

    monkeypatch.setattr("maskdcpt_cli.inference.looking.fill_transparent", fill)
    paths = [
        saved(tmp_path / f"{name}.png", painted(16, 16, (name, name, name))) for name in (255, 0)
    ]
    failed, fine = classify_files(means(), paths)
    assert "Insufficient memory" in failed.reason
    assert fine.answer


def test_only_the_first_page_is_classified_and_a_notice_reports_it(tmp_path):
    path = tmp_path / "a.tif"
    pages = [Image.fromarray(painted(16, 16, colour)) for colour in ((255, 0, 0), (0, 255, 0))]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    (one,) = classify_files(means(), [path])
    assert one.answer == "GN"
    assert one.notices == ("It has 2 pages: only the first one was classified.",)


def test_a_map_shows_what_was_found_where(tmp_path):
    image = np.concatenate([painted(256, 256, (255, 0, 0)), painted(256, 256, (0, 255, 0))], 1)
    path, target = saved(tmp_path / "a.png", image), tmp_path / "maps" / "a.png.map.png"
    (one,) = classify_files(means(), [path], maps={path: target})
    assert one.reason is None
    sheet = np.asarray(Image.open(target)).astype(int)
    height, width = sheet.shape[:2]
    left, right = (sheet[height // 2, round(width * share)] for share in (0.6, 0.95))
    assert left[0] > left[1] + 50, "noise is red"
    assert right[1] > right[2] + 50, "clean is green"
    rest = sheet[:, : width // 2]
    assert (rest == (255, 0, 0)).all(axis=2).any(), "the photo lies beside it"


def test_a_map_never_takes_the_place_of_another_file_unasked(tmp_path):
    path, target = saved(tmp_path / "a.png", painted(32, 32)), tmp_path / "a.png.map.png"
    for _ in range(2):  # the same map is no other file
        (one,) = classify_files(means(), [path], maps={path: target})
        assert one.reason is None
    target.write_text("something else")
    (one,) = classify_files(means(), [path], maps={path: target})
    assert one.answer == "GN", "the answer is there all the same"
    assert "exists; --overwrite replaces it." in one.reason
    assert target.read_text() == "something else"
    (one,) = classify_files(means(), [path], maps={path: target}, overwrite=True)
    assert one.reason is None
    assert Image.open(target).size > (32, 32)


def test_a_map_that_cannot_be_written_is_a_failure_with_an_answer(tmp_path):
    path = saved(tmp_path / "a.png", painted(32, 32))
    (one,) = classify_files(means(), [path], maps={path: path / "a.map.png"})
    assert (one.answer, one.reason.startswith("Cannot write")) == ("GN", True)


@pytest.mark.skipif(os.name == "nt", reason="such names are refused there")
def test_a_map_of_a_photo_whose_name_is_not_utf8(tmp_path):
    path = saved(tmp_path / os.fsdecode(b"caf\xe9.png"), painted(32, 32))
    (one,) = classify_files(means(), [path], maps={path: tmp_path / "map.png"})
    assert one.reason is None


@pytest.fixture(scope="module", params=BACKBONES)
def checkpoint(request) -> Checkpoint:
    torch.manual_seed(0)
    backbone = small(request.param)
    network = MaskDCPT(backbone, classes=3, reconstruction=False, classifier_dims=(4, 8, 8, 12))
    assert network.classifier is not None
    return Checkpoint(
        request.param,
        SMALL[request.param],
        backbone.state_dict(),
        LABELS,
        classifier=network.classifier.state_dict(),
        temperature=2.0,
        crop_size=96,
        restores=False,
    )


def test_the_network_of_every_backbone_names_what_pre_training_would(checkpoint):
    classifier = build_classifier(checkpoint)
    assert (classifier.degradations, classifier.temperature) == (LABELS, 2.0)
    assert classifier.crop_size == 96
    assert build_classifier(replace(checkpoint, crop_size=None)).crop_size == TILE
    several = replace(checkpoint, multi_label=True, thresholds={"LL": 0.8})
    assert [build_classifier(several).threshold(label) for label in LABELS[:2]] == [0.8, 0.5]
    assert classifier.network.reconstruction is None
    assert not classifier.network.training
    image = np.random.default_rng(0).random((64, 64, 3), np.float32)
    lq = torch.from_numpy(image).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = (classifier.network(lq).logits[0] / 2).softmax(0).tolist()
    found = classify(classifier, image)
    assert [found[label] for label in LABELS] == pytest.approx(expected, abs=1e-5)
    assert set(classify(classifier, image[:5, :9])) == set(LABELS)


def test_a_checkpoint_without_a_classifier_says_what_has_one(checkpoint):
    bare = Checkpoint(checkpoint.backbone, checkpoint.options, checkpoint.state_dict)
    with pytest.raises(CheckpointError, match=r"no classifier .* tiny-classifier, .* pretrain"):
        build_classifier(bare)


@pytest.mark.parametrize(
    ("colour", "temperature", "found"),
    [((255, 0, 0), None, ("GN",)), ((0, 255, 0), None, ()), ((255, 0, 0), 20.0, ())],
)
def test_a_photo_has_the_answer_that_is_neither_clean_nor_uncertain(colour, temperature, found):
    page = page_from_array(painted(16, 16, colour))
    one = find_degradations(means(temperature), page, Colour())
    assert (one.labels, len(one.probabilities)) == (found, len(LABELS))
    assert one.uncertain == (temperature is not None)
