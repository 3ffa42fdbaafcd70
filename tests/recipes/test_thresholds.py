"""The thresholds of a classifier, fitted on whole photos."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from maskdcpt_cli import classify, load_classifier
from maskdcpt_cli.models.maskdcpt import MaskDCPT
from maskdcpt_cli.weights.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from recipes.tiny.thresholds import as_of_camera, main
from tests.small import SMALL, small

LABELS = ("H", "GN", "J")


@pytest.fixture
def checkpoint(tmp_path) -> Checkpoint:
    """A classifier that finds noise in everything, and haze in what is bright; it is saved."""
    torch.manual_seed(0)
    backbone = small("nafnet")
    network = MaskDCPT(backbone, classes=3, reconstruction=False, classifier_dims=(4, 8, 8, 12))
    assert network.classifier is not None
    with torch.no_grad():
        network.classifier.linear.bias.copy_(torch.tensor([0.0, 1.0, -9.0]))
    checkpoint = Checkpoint(
        "nafnet", SMALL["nafnet"], backbone.state_dict(), LABELS, preset="mine",
        classifier=network.classifier.state_dict(), temperature=1.5, multi_label=True,
        crop_size=64, restores=False,
    )  # fmt: skip
    save_checkpoint(checkpoint, tmp_path / "given.safetensors")
    return checkpoint


@pytest.fixture
def clean(tmp_path) -> list[np.ndarray]:
    (tmp_path / "clean").mkdir()
    generator = np.random.default_rng(0)
    photos = [generator.integers(0, 60 * n, (40, 50, 3), np.uint8) for n in range(1, 5)]
    for number, photo in enumerate(photos):
        Image.fromarray(photo).save(tmp_path / "clean" / f"{number}.png")
    return photos


def fitted(folder: Path, *options: str) -> Result:
    given, clean, new = (
        folder / name for name in ("given.safetensors", "clean", "new.safetensors")
    )
    return CliRunner().invoke(main, [str(given), str(clean), "-o", str(new), *options])


@pytest.mark.parametrize("least", [None, 0.1])
def test_the_file_is_written_anew_with_the_thresholds_of_the_photos(
    least, tmp_path, checkpoint, clean
):
    result = fitted(tmp_path, *(["--least", str(least)] if least else []))
    assert result.exit_code == 0, result.output
    assert "0 of 8 clean photos have a label." in result.output
    classifier = load_classifier(tmp_path / "given.safetensors")
    photos = [one for photo in clean for one in (photo, as_of_camera(photo))]
    found = [classify(classifier, photo) for photo in photos]
    assert max(one["GN"] for one in found) > 0.5
    new = read_checkpoint(tmp_path / "new.safetensors")
    assert new.thresholds == {
        label: max(least or 0.5, *(one[label] for one in found)) for label in LABELS
    }
    for name in ("temperature", "degradations", "multi_label", "crop_size", "preset", "restores"):
        assert getattr(new, name) == getattr(checkpoint, name)
    assert all(
        torch.equal(new.classifier[key], checkpoint.classifier[key]) for key in new.classifier
    )


def test_nothing_is_overwritten_and_one_label_has_no_thresholds(tmp_path, checkpoint, clean):
    save_checkpoint(replace(checkpoint, multi_label=False), tmp_path / "given.safetensors")
    assert "has one label of each photo" in fitted(tmp_path).output
    (tmp_path / "new.safetensors").write_text("mine")
    assert "exists: name another file" in fitted(tmp_path).output
    assert (tmp_path / "new.safetensors").read_text() == "mine"


def test_a_photo_as_of_a_camera_is_larger_and_softer(clean):
    taken = as_of_camera(clean[0])
    assert taken.shape == (80, 100, 3)
    assert taken.dtype == np.uint8
    assert abs(taken.mean() - clean[0].mean()) < 1
    assert np.abs(np.diff(taken.astype(int), axis=1)).mean() < 10
